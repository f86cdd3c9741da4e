"""Scripts of the unread window; each touches the two keys of one group.

- `observe.lua`  applies one observation
- `install.lua`  replaces the window by a rebuilt one
- `read.lua`     reads the window above a seq
"""
