"""Pure numbers: arrays in, dataclasses out; numpy and scipy only, no input or output."""
