"""Roles: bound to something that exists, without wildcards, secrets, shells or a way to more rights."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.objects import Object, key, named, namespace, of_kind

TOO_MUCH = {"*", "secrets", "pods/exec", "pods/attach", "serviceaccounts/token", "roles", "rolebindings"}
TOO_MUCH_VERBS = {"*", "escalate", "bind", "impersonate"}


def check(objects: list[Object]) -> Iterator[str]:
    for thing in of_kind(objects, "ClusterRole", "ClusterRoleBinding"):
        yield f"{key(thing)}: rights over the whole cluster"
    for role in of_kind(objects, "Role"):
        for rule in role["rules"]:
            for name in sorted(TOO_MUCH & {*rule.get("resources", ()), *rule.get("apiGroups", ())}):
                yield f"{key(role)}: grants {name}"
            for verb in sorted(TOO_MUCH_VERBS & set(rule["verbs"])):
                yield f"{key(role)}: grants the verb {verb}"
    for binding in of_kind(objects, "RoleBinding"):
        where = namespace(binding)
        if binding["roleRef"]["name"] not in named(objects, binding["roleRef"]["kind"], where):
            yield f"{key(binding)}: there is no role {binding['roleRef']['name']}"
        for subject in binding["subjects"]:
            if subject["kind"] == "ServiceAccount" and subject["name"] not in named(
                objects, "ServiceAccount", subject.get("namespace", where)
            ):
                yield f"{key(binding)}: there is no service account {subject['name']}"
            if subject["name"] in ("system:authenticated", "system:unauthenticated", "system:anonymous"):
                yield f"{key(binding)}: binds {subject['name']}"
