"""The `throng` command: the only place that knows all services.

- `main.py`        the command and its verbs
- `data_folder.py` what lies in a data folder: lock, key, addresses of what runs on it
- `all_in_one.py`  the four services in one process, and further edge processes (`throng up`)
- `serve.py`       one service per process (`throng edge | group | router | unread`)
- `edges.py`       `throng edge …`
- `tokens.py`      `throng token`
- `groups.py`      `throng group …`
- `group_settings.py` a group's limits as options
- `group_link.py`  a channel to the group service that runs on a data folder, or one started for the moment
- `dialling.py`    a channel to a service that runs
- `rpc_options.py` certificates and token that verbs show to a service
- `bench.py`       `throng bench`
- `bench_progress.py` its progress on the terminal
- `plan.py`        `throng plan`
- `interrupts.py`  Ctrl-C and SIGTERM as a count that a loop reads
- `migrations.py`  `throng migrate`
- `topics.py`      `throng topics`
- `health.py`      `throng health`
- `refusal.py`     what is wrong, in one sentence on stderr, with exit code 2
"""
