"""Lua scripts of group_svc; each touches the keys of one group only, which share a hash tag.

- `recent_put.lua`       adds consecutive messages to a group's recent ones, blanks recalled ones, trims
- `recent_read.lua`       reads a range and the head at one moment
- `recent_raise_head.lua` raises a group's head without its messages
"""
