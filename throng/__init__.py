"""Shared library of Throng: what every service stands on.

    cli  ->  bench  ->  runtime  ->  adapters  ->  ports  ->  domain
                 api (generated from protos/) is used by runtime and adapters only

- `api/`       generated messages and gRPC stubs; never edited
- `domain/`    words, values, limits and errors; no I/O, no libraries
- `ports/`     what services need from the outside, as documents
- `adapters/`  ports over one technology each, and what adapters of one technology share
- `runtime/`   settings, gRPC servers and channels, logs, metrics, threads, start and stop
- `testing/`   fake clock, conformance suites and in-process cluster for tests
- `bench/`     the load client and delivery oracle behind `throng bench`
- `sizing/`    what a crowd needs, behind `throng plan`
- `cli/`       the `throng` command
"""

__version__ = "0.1.0"
