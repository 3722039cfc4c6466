"""The nearline side: a Faust app whose workers turn events into online state."""
