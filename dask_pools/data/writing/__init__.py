"""Writing at home: drafted on the client, written by the workers of one pool."""
