"""The `throng` command: the only place that knows all services.

- `main.py`        the command and its verbs
- `data_folder.py` what lies in a data folder: lock, key, addresses of what runs on it
- `all_in_one.py`  the four services in one process, and further edge processes (`throng up`)
- `serve.py`       one service per process (`throng edge | group | router | unread`)
- `tokens.py`      `throng token`
- `groups.py`      `throng group …`
- `group_link.py`  a channel to the group service that runs on a data folder, or one started for the moment
- `rpc_options.py` certificates and token that verbs show to a group service
- `bench.py`       `throng bench`
- `bench_progress.py` its progress on the terminal
- `migrations.py`  `throng migrate`
- `refusal.py`     what is wrong, in one sentence on stderr, with exit code 2
"""
