"""What must hold of the rendered objects, whatever the values: safe containers, probes, limits, selectors, ports, secrets, stopping."""

from __future__ import annotations

import re
from typing import Any

import pytest
from chart import SERVICES, SETS, Object, component_of, environment, matches, of_kind, render, workloads

from throng.cli.serve import SERVICES as KNOWN
from throng.runtime.settings import load

EVERY_SET = pytest.mark.parametrize("name", SETS)


def own_workloads(name: str) -> dict[str, Object]:
    """Pod templates of the four services."""
    return {component_of(one): pod for one, pod in workloads(render(name)) if component_of(one) in SERVICES}


def container_of(pod: Object) -> Object:
    """The one container of a pod."""
    assert len(pod["spec"]["containers"]) == 1
    return pod["spec"]["containers"][0]


@EVERY_SET
def test_all_four_services_are_there(name: str) -> None:
    assert set(own_workloads(name)) == set(SERVICES)


@EVERY_SET
def test_containers_have_limits_and_no_rights(name: str) -> None:
    for one, pod in workloads(render(name)):
        spec, container = pod["spec"], container_of(pod)
        where = one["metadata"]["name"]
        assert spec["automountServiceAccountToken"] is False, where
        assert spec["securityContext"]["runAsNonRoot"] is True, where
        assert spec["securityContext"]["runAsUser"] > 0, where
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, where
        for kind in ("requests", "limits"):
            assert set(container["resources"][kind]) == {"cpu", "memory"}, where
        assert not any("hostPath" in volume for volume in spec["volumes"]), where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), where


@EVERY_SET
def test_what_serves_has_three_probes_at_ports_that_are_there(name: str) -> None:
    for one, pod in workloads(render(name)):
        if one["kind"] == "Job":
            continue
        container = container_of(pod)
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            found = container[probe]
            assert found["timeoutSeconds"] <= 10
            (kind,) = {"httpGet", "grpc", "exec", "tcpSocket"} & set(found)
            if kind == "exec":
                assert found["exec"]["command"] == ["throng", "health", component_of(one)]
            elif kind == "grpc":
                assert found["grpc"]["port"] == ports["grpc"]
            else:
                assert found[kind]["port"] in ports


@EVERY_SET
def test_probes_with_tls_do_not_come_from_the_kubelet(name: str) -> None:
    for component, pod in own_workloads(name).items():
        container = container_of(pod)
        tls = f"THRONG_{component.upper()}_RPC_CA_FILE" in environment(container)
        if component != "edge":
            assert ("exec" in container["readinessProbe"]) == tls
            assert ("grpc" in container["readinessProbe"]) != tls


@EVERY_SET
def test_every_selector_selects_the_pods_it_means_and_no_others(name: str) -> None:
    objects = render(name)
    pods = {component_of(one): pod["metadata"]["labels"] for one, pod in workloads(objects)}
    for one, pod in workloads(objects):
        if one["kind"] != "Job":
            assert matches(one["spec"]["selector"], pod["metadata"]["labels"])
    selecting = [(one, {"matchLabels": one["spec"]["selector"]}) for one in of_kind(objects, "Service").values()]
    selecting += [(one, one["spec"]["selector"]) for one in of_kind(objects, "PodDisruptionBudget").values()]
    selecting += [(one, one["spec"]["podSelector"]) for one in of_kind(objects, "NetworkPolicy").values()]
    for one, selector in selecting:
        selected = [component for component, labels in pods.items() if matches(selector, labels)]
        wanted = "edge" if component_of(one) == "clients" else component_of(one)
        assert selected == [wanted], one["metadata"]["name"]


@EVERY_SET
def test_spread_and_budgets_and_autoscalers_fit_their_workload(name: str) -> None:
    objects = render(name)
    deployments = of_kind(objects, "Deployment")
    for one in deployments.values():
        pod = one["spec"]["template"]
        keys = [constraint["topologyKey"] for constraint in pod["spec"]["topologySpreadConstraints"]]
        assert sorted(keys) == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        for constraint in pod["spec"]["topologySpreadConstraints"]:
            assert matches(constraint["labelSelector"], pod["metadata"]["labels"])
    assert set(of_kind(objects, "PodDisruptionBudget")) == set(deployments)
    for scaler in of_kind(objects, "HorizontalPodAutoscaler").values():
        target = deployments[scaler["spec"]["scaleTargetRef"]["name"]]
        assert "replicas" not in target["spec"], "a Deployment and its autoscaler would pull at one number"


@EVERY_SET
def test_every_port_of_a_service_is_one_that_its_pods_open(name: str) -> None:
    objects = render(name)
    for service in of_kind(objects, "Service").values():
        selector = {"matchLabels": service["spec"]["selector"]}
        (pod,) = [pod for _, pod in workloads(objects) if matches(selector, pod["metadata"]["labels"])]
        opened = {port["name"]: port["containerPort"] for port in container_of(pod)["ports"]}
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in opened
            if service["spec"].get("clusterIP") == "None":
                assert port["port"] == opened[port["targetPort"]], "headless: clients dial the pod's own port"


@EVERY_SET
def test_containers_open_exactly_the_ports_that_the_service_is_told(name: str) -> None:
    for component, pod in own_workloads(name).items():
        container = container_of(pod)
        variables = environment(container)
        prefix = f"THRONG_{component.upper()}_"
        told = {"metrics": variables[f"{prefix}METRICS_PORT"]}
        if component == "edge":
            told |= {"http": variables[f"{prefix}PORT"], "grpc": variables[f"{prefix}INTERNAL_PORT"]}
        else:
            told |= {"grpc": variables[f"{prefix}PORT"]}
        assert {port["name"]: str(port["containerPort"]) for port in container["ports"]} == told


@EVERY_SET
def test_settings_are_accepted_and_reach_every_interface(name: str) -> None:
    for component, pod in own_workloads(name).items():
        container = container_of(pod)
        assert pod["spec"]["enableServiceLinks"] is False, "THRONG_EDGE_PORT would be the Service's"
        variables = {key: value.replace("$(POD_IP)", "10.1.2.3") for key, value in environment(container).items()}
        variables = {key: value.replace("$(POD_NAME)", "throng-edge-1") for key, value in variables.items()}
        variables.pop("THRONG_GROUP_WORD_LIST_FILE", None)  # is read at once
        settings: Any = load(KNOWN[component].settings(), environment=variables)
        assert settings.host in ("0.0.0.0", "::")
        assert settings.metrics_host == settings.host
        if component in ("edge", "group"):
            assert "10.1.2.3" in settings.internal_address
        assert container["command"] == ["throng", component]


@EVERY_SET
def test_services_find_each_other_under_names_and_ports_that_exist(name: str) -> None:
    services = of_kind(render(name), "Service")
    found = set()
    for component, pod in own_workloads(name).items():
        for key, value in environment(container_of(pod)).items():
            if key.endswith("_ADDRESSES"):
                target = key.removeprefix(f"THRONG_{component.upper()}_").removesuffix("_ADDRESSES").lower()
                match = re.fullmatch(r"dns:///([\w-]+)\.chat\.svc\.cluster\.local:(\d+)", value)
                assert match, value
                service = services[match[1]]
                assert component_of(service) == target
                assert service["spec"]["clusterIP"] == "None", "gRPC's round robin needs every pod's address"
                assert int(match[2]) in [port["port"] for port in service["spec"]["ports"] if port["name"] == "grpc"]
                found.add((component, target))
    assert len(found) == 6


@EVERY_SET
def test_no_secret_stands_in_plain_text(name: str) -> None:
    objects = render(name)
    secrets = of_kind(objects, "Secret")
    assert set(secrets) == ({"throng-trial"} if name == "trial" else set())
    for one, pod in workloads(objects):
        container = container_of(pod)
        for variable in container.get("env", []):
            assert "secretKeyRef" not in str(variable), "a variable is shown to whoever looks at the process"
        for key, value in environment(container).items():
            if re.search(r"PASSWORD|SECRET|TOKEN", key) and "RANDOM_ROOT" not in key and not key.endswith("ACCESS_TOKEN_QUERY"):
                assert value.startswith("/etc/throng/"), f"{one['metadata']['name']}: {key}"
            assert not re.search(r"://[^/@]*:[^/@]*@", value), f"{one['metadata']['name']}: {key} holds a password"
        for argument in container.get("command", []) + container.get("args", []):
            assert not re.search(r"://[^/@\s]*:[^/@\s]*@", argument)


@EVERY_SET
def test_every_file_that_is_named_is_mounted(name: str) -> None:
    for one, pod in workloads(render(name)):
        container = container_of(pod)
        words = [*environment(container).values(), *container.get("command", [])]
        named = {word for word in words if word.startswith("/etc/throng/")}
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        sources = volumes["files"]["projected"]["sources"] if "files" in volumes else []
        items = [item for source in sources for kind in source.values() for item in kind["items"]]
        mounted = {f"/etc/throng/{item['path']}" for item in items}
        if component_of(one) in (*SERVICES, "migrate", "topics"):
            assert named == mounted, one["metadata"]["name"]
        assert len(items) == len(mounted), "two sources for one file"
        if sources:
            assert volumes["files"]["projected"]["defaultMode"] == 0o440, "a secret that everyone may read is warned of"


@EVERY_SET
def test_pods_are_given_the_time_that_their_drain_takes(name: str) -> None:
    for component, pod in own_workloads(name).items():
        container = container_of(pod)
        variables = environment(container)
        pause = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
        drain = {
            "edge": float(variables.get("THRONG_EDGE_DRAIN_WINDOW_MS", 0)) / 1000,
            "group": float(variables.get("THRONG_GROUP_DRAIN_SECONDS", 0)),
            "router": float(variables.get("THRONG_ROUTER_DRAIN_SECONDS", 0)),
            "unread": float(variables.get("THRONG_UNREAD_STOP_GRACE_SECONDS", 0)),
        }[component]
        assert pause + drain + 10 <= pod["spec"]["terminationGracePeriodSeconds"] <= pause + drain + 21


@EVERY_SET
def test_jobs_are_hooks_that_leave_nothing_behind_and_may_be_repeated(name: str) -> None:
    objects = render(name)
    jobs = of_kind(objects, "Job")
    trial = name == "trial"
    assert set(jobs) == ({"throng-migrate-1", "throng-topics-1"} if trial else {"throng-migrate", "throng-topics"})
    for one in jobs.values():
        annotations = one["metadata"].get("annotations", {})
        assert annotations.get("helm.sh/hook") == (None if trial else "pre-install,pre-upgrade")
        assert one["spec"]["template"]["spec"]["restartPolicy"] == "OnFailure"
        assert "serviceAccountName" not in one["spec"]["template"]["spec"], "hooks run before the account is there"
        if not trial:
            assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
            policy = of_kind(objects, "NetworkPolicy")[one["metadata"]["name"]]
            weight = policy["metadata"]["annotations"]["helm.sh/hook-weight"]
            assert int(weight) < int(annotations["helm.sh/hook-weight"]), "the way out must be open before the job runs"


@EVERY_SET
def test_trial_servers_are_marked_as_such(name: str) -> None:
    for one, pod in workloads(render(name)):
        if one["kind"] == "StatefulSet":
            assert name == "trial"
            assert "-trial-" in one["metadata"]["name"]
            assert "trying out only" in pod["metadata"]["annotations"]["throng/purpose"]
