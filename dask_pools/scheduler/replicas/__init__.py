"""Where values are fetched from, copied to and kept: each crosses a link once."""
