"""Fine-tunes as tests drive them: apply, read, wait on conditions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from qwen3_api.v1alpha1.meta import GROUP, VERSION
from support.waiting import wait_for

FINE_TUNES, EVALS = "qwen3finetunes", "qwen3evals"
Body = dict[str, Any]


def condition(body: Mapping[str, Any], type_: str) -> Body | None:
    """A condition of a resource that speaks of its current generation, or None."""
    generation = body["metadata"]["generation"]
    for found in body.get("status", {}).get("conditions", []):
        if found["type"] == type_ and found["observedGeneration"] == generation:
            return dict(found)
    return None


def is_true(body: Mapping[str, Any], type_: str) -> bool:
    """The condition is True for the current generation."""
    found = condition(body, type_)
    return found is not None and found["status"] == "True"


def stage(body: Mapping[str, Any]) -> str:
    """The reason of Ready, if it speaks of the current generation."""
    ready = condition(body, "Ready")
    return ready["reason"] if ready else ""


@dataclass(frozen=True)
class Tenant:
    """A namespace and the API as its user."""

    api: client.ApiClient
    namespace: str

    @property
    def custom(self) -> client.CustomObjectsApi:
        return client.CustomObjectsApi(self.api)

    @property
    def core(self) -> client.CoreV1Api:
        return client.CoreV1Api(self.api)

    @property
    def batch(self) -> client.BatchV1Api:
        return client.BatchV1Api(self.api)

    @property
    def apps(self) -> client.AppsV1Api:
        return client.AppsV1Api(self.api)

    def create(self, name: str, spec: Mapping[str, Any], plural: str = FINE_TUNES) -> Body:
        """Create a custom resource."""
        kind = {FINE_TUNES: "Qwen3FineTune", EVALS: "Qwen3Eval"}[plural]
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": dict(spec),
        }
        return self.custom.create_namespaced_custom_object(
            GROUP, VERSION, self.namespace, plural, body, field_validation="Strict"
        )

    def get(self, name: str, plural: str = FINE_TUNES) -> Body:
        """Read a custom resource."""
        return self.custom.get_namespaced_custom_object(
            GROUP, VERSION, self.namespace, plural, name
        )

    def patch(self, name: str, spec: Mapping[str, Any]) -> Body:
        """Merge-patch the spec of a fine-tune."""
        return self.custom.patch_namespaced_custom_object(
            GROUP, VERSION, self.namespace, FINE_TUNES, name, {"spec": dict(spec)}
        )

    def delete(self, name: str, plural: str = FINE_TUNES) -> None:
        """Delete a custom resource and wait until it is gone."""
        try:
            self.custom.delete_namespaced_custom_object(
                GROUP, VERSION, self.namespace, plural, name
            )
        except ApiException as error:
            if error.status != 404:
                raise
        wait_for(lambda: self.exists(name, plural), lambda there: not there, f"{name} gone", 180)

    def exists(self, name: str, plural: str = FINE_TUNES) -> bool:
        """Whether the custom resource is there."""
        try:
            self.get(name, plural)
        except ApiException as error:
            if error.status == 404:
                return False
            raise
        return True

    def wait(
        self,
        name: str,
        until: Callable[[Body], bool],
        what: str,
        seconds: float = 180.0,
        plural: str = FINE_TUNES,
    ) -> Body:
        """Wait until the resource meets a condition; returns it."""
        return wait_for(lambda: self.get(name, plural), until, f"{name}: {what}", seconds)

    def wait_ready(self, name: str, seconds: float = 240.0, plural: str = FINE_TUNES) -> Body:
        """Wait for Ready=True of the current generation; fails at once when it stalls."""
        body = self.wait(
            name,
            lambda b: is_true(b, "Ready") or is_true(b, "Stalled"),
            "Ready",
            seconds,
            plural,
        )
        assert is_true(body, "Ready"), condition(body, "Stalled")
        return body

    def wait_stalled(self, name: str, seconds: float = 180.0, plural: str = FINE_TUNES) -> Body:
        """Wait for Stalled=True of the current generation."""
        return self.wait(name, lambda b: is_true(b, "Stalled"), "Stalled", seconds, plural)

    def jobs(self, name: str) -> list[Any]:
        """Training Jobs of a fine-tune."""
        return self._jobs(name, "trainer")

    def preflights(self, name: str) -> list[Any]:
        """Preflight Jobs of a fine-tune."""
        return self._jobs(name, "preflight")

    def exports(self, name: str) -> list[Any]:
        """Export Jobs of a fine-tune."""
        return self._jobs(name, "export")

    def _jobs(self, name: str, component: str) -> list[Any]:
        selector = f"qwen3.dev/fine-tune={name},app.kubernetes.io/component={component}"
        return self.batch.list_namespaced_job(self.namespace, label_selector=selector).items

    def pods(self, selector: str) -> list[Any]:
        """Pods that aren't being deleted."""
        found = self.core.list_namespaced_pod(self.namespace, label_selector=selector).items
        return [p for p in found if p.metadata.deletion_timestamp is None]

    def training_pods(self, name: str) -> list[Any]:
        """Training pods of a fine-tune, finished ones too."""
        return self.pods(f"qwen3.dev/fine-tune={name},app.kubernetes.io/component=trainer")

    def pool_pods(self) -> list[Any]:
        """Pods of every pool of the namespace."""
        return self.pods("qwen3.dev/pool")
