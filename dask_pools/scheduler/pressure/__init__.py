"""Back-pressure by bytes: reads wait while memory is taken by what waits for another pool."""
