"""Placing the values of a computation in pools; pure: arrays in, labels out."""
