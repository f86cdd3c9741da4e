"""The NetworkPolicies let through the arrows of the architecture and nothing else."""

from __future__ import annotations

import itertools

import pytest
from chart import SERVICES, SETS, Object, component_of, environment, matches, of_kind, render, workloads

from throng.cluster.plan import LINKS

BACKENDS = ("kafka", "mysql", "redis")
JOBS = {("migrate", "mysql"), ("topics", "kafka")}
ARROWS = {tuple(link.split("->")) for link in LINKS}


def pods_of(name: str) -> dict[str, Object]:
    return {component_of(one): pod for one, pod in workloads(render(name))}


def policies_of(name: str) -> dict[str, Object]:
    return {component_of(one): one["spec"] for one in of_kind(render(name), "NetworkPolicy").values()}


def port_of(pod: Object, name: str) -> int:
    return next(port["containerPort"] for port in pod["spec"]["containers"][0]["ports"] if port["name"] == name)


def lets(rules: list[Object], direction: str, labels: Object, port: int) -> bool:
    """Whether rules that select pods by labels let a connection through; what is open to everybody is not counted."""
    return any(
        port in [entry["port"] for entry in rule["ports"]] and matches(peer["podSelector"], labels)
        for rule in rules
        for peer in rule.get(direction, [])
        if "podSelector" in peer and "namespaceSelector" not in peer
    )


@pytest.mark.parametrize("name", SETS)
def test_services_reach_those_that_the_architecture_names(name: str) -> None:
    pods, policies = pods_of(name), policies_of(name)
    leaving, entering = set(), set()
    for source, target in itertools.product(SERVICES, SERVICES):
        port = port_of(pods[target], "grpc")
        if lets(policies[source]["egress"], "to", pods[target]["metadata"]["labels"], port):
            leaving.add((source, target))
        if lets(policies[target]["ingress"], "from", pods[source]["metadata"]["labels"], port):
            entering.add((source, target))
    wanted = {(source, target) for source, target in ARROWS if source in SERVICES and target in SERVICES}
    assert leaving == wanted
    assert entering == wanted


@pytest.mark.parametrize("name", SETS)
def test_backends_are_reached_by_those_that_the_architecture_names(name: str) -> None:
    policies = policies_of(name)
    ports = {
        "kafka": {9093} if name == "everything" else {9092},
        "mysql": {3306} if name in ("everything", "trial") else {3306, 3307},
        "redis": {6379},
    }
    found = set()
    for component in (*SERVICES, "migrate", "topics"):
        for kind in BACKENDS:
            if any(ports[kind] == {entry["port"] for entry in rule["ports"]} for rule in policies[component]["egress"]):
                found.add((component, kind))
    assert found == {(source, target) for source, target in ARROWS if target in BACKENDS} | JOBS


def test_trial_servers_let_in_their_users_alone() -> None:
    pods, policies = pods_of("trial"), policies_of("trial")
    found = set()
    for source, kind in itertools.product((*SERVICES, "migrate", "topics"), BACKENDS):
        target = pods[f"trial-{kind}"]
        port = port_of(target, kind)
        enters = lets(policies[f"trial-{kind}"]["ingress"], "from", pods[source]["metadata"]["labels"], port)
        leaves = lets(policies[source]["egress"], "to", target["metadata"]["labels"], port)
        assert enters == leaves
        if enters:
            found.add((source, kind))
    assert found == {(source, target) for source, target in ARROWS if target in BACKENDS} | JOBS


@pytest.mark.parametrize("name", SETS)
def test_what_is_open_to_everybody_is_the_page_the_metrics_and_names(name: str) -> None:
    for component, spec in policies_of(name).items():
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        open_ports = {entry["port"] for rule in spec["ingress"] if not rule.get("from") for entry in rule["ports"]}
        wanted = {"edge": {8080, 9101}}.get(component, {9101} if component in SERVICES else set())
        assert open_ports == (set() if name == "everything" else wanted), component
        for rule in spec["egress"]:
            assert rule["ports"], "every port"


def test_every_policy_covers_a_workload_and_every_workload_has_one() -> None:
    for name in SETS:
        assert set(policies_of(name)) == set(pods_of(name))


def test_narrowed_peers_are_used() -> None:
    policies = policies_of("everything")
    edge = policies["edge"]
    by_port = {rule["ports"][0]["port"]: rule for rule in edge["ingress"]}
    assert by_port[8080]["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}]
    assert by_port[9101]["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    for component in SERVICES:
        grpc = next(rule for rule in policies[component]["ingress"] if rule["ports"][0]["port"] in (7001, 7002, 7003, 7004))
        assert {"podSelector": {"matchLabels": {"example.org/bot": "yes"}}} in grpc["from"]
        dns = next(rule for rule in policies[component]["egress"] if rule["ports"][0]["port"] == 53)
        assert dns["to"], "names are asked of the cluster's own servers"
    kafka = next(rule for rule in edge["egress"] if rule["ports"] == [{"port": 9093, "protocol": "TCP"}])
    assert kafka["to"] == [{"ipBlock": {"cidr": "fd00::/16"}}]


def test_the_safety_hook_is_reached_by_group_services_where_there_is_one() -> None:
    def opens(name: str, component: str) -> list[Object]:
        return [rule for rule in policies_of(name)[component]["egress"] if rule["ports"][0]["port"] == 7100]

    (rule,) = opens("everything", "group")
    assert rule["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "safety"}}}]
    assert not opens("small", "group")
    assert not any(opens("everything", component) for component in ("edge", "router", "unread"))


def test_components_use_exactly_the_backends_that_they_are_told_of() -> None:
    told = {"kafka": "KAFKA_SERVERS", "mysql": "MYSQL_URL", "redis": "REDIS_URL"}
    for component in SERVICES:
        variables = environment(pods_of("small")[component]["spec"]["containers"][0])
        used = {kind for kind, key in told.items() if f"THRONG_{component.upper()}_{key}" in variables}
        assert used == {target for source, target in ARROWS if source == component and target in BACKENDS}
