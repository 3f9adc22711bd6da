"""The last fine-tune scales its pool away. Runs last: it takes the session's fine-tune down."""

from support.finetunes import Body, Tenant
from support.quickstart import QUICKSTART
from support.waiting import wait_for


def test_the_last_fine_tune_takes_the_pool_with_it(quickstart: Body, tenant: Tenant) -> None:
    assert tenant.pool_pods()
    tenant.delete(QUICKSTART)
    for name in ("rank", "alias"):
        tenant.delete(name)
    wait_for(
        lambda: (
            tenant.apps.list_namespaced_deployment(
                tenant.namespace, label_selector="qwen3.dev/pool"
            ).items
        ),
        lambda found: not found,
        "no pool is left",
        60,
    )
    wait_for(tenant.pool_pods, lambda pods: not pods, "no pool pod is left", 120)
