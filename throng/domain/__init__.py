"""Words, values, limits and errors of Throng, without I/O and without libraries.

- `ids.py`          identifiers and how they are checked
- `errors.py`       the closed list of error codes and the one exception that carries them
- `group.py`        groups, members, roles, settings
- `message.py`      positions, submissions, stored messages
- `quick_values.py` values of which several are made for every message
- `limits.py`       every number that bounds something for clients
- `close_codes.py`  WebSocket close codes and the rule each gives to a client
"""
