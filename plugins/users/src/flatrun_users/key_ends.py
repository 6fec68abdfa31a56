"""How keys end: with what they were made by, and with the last deployment that they were limited to."""

from collections.abc import Iterable

from flatrun_users.models import ApiKey
from flatrun_users.sessions import Sessions


def end_keys(key_ids: Iterable[int], sessions: Sessions) -> int:
    """Revoke keys, every key that was made by them, and their sessions; how many keys.

    In the caller's transaction. Each generation is locked before the next is looked for, and a key
    is made while the one that makes it is locked, so none is overlooked.
    """
    ended: set[int] = set()
    generation = sorted(key_ids)
    while generation:
        ApiKey.deactivate(generation)
        for key_id in generation:
            sessions.revoke_of_key(key_id)
        ended.update(generation)
        generation = sorted(set(ApiKey.made_by_any(generation)) - ended)
    return len(ended)


def end_limited_to(name: str, sessions: Sessions) -> None:
    """Take a deployment out of the lists of keys, in the caller's transaction.

    A key that has nothing left is revoked: its empty list would mean every deployment.
    """
    for row in ApiKey.limited():
        if name in row.deployments:
            left = [other for other in row.deployments if other != name]
            if left:
                row.limit_to(left)
            else:
                end_keys([row.id], sessions)
