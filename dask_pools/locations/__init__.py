"""Which data lives where, as people say it: in a program, a file, or Dask's configuration."""
