"""A child made before it is needed: in namespaces of its own, with all that is the same for every function, it waits
for the order that makes it somebody's. Until then it runs nothing but our code and knows nothing of anybody's; from
then on it is bound for life."""

import os
import socket
from typing import Optional

from . import dress, orders, rehearsal


def wait(order: orders.Order, wardrobe: dress.Wardrobe) -> None:
    """Until the `start` came; its descriptors are then in `order.fds`. Ends the process when the keeper closes its end
    of `orders`, or is gone. Raises what went wrong in preparing only now: here somebody hears it."""
    failure: Optional[BaseException] = None
    try:
        dress.prepare(order.message["isolated"], order.fds, wardrobe)
        rehearsal.warm_up()
    except (OSError, ValueError) as exc:
        failure = exc
    keeper = socket.socket(fileno=order.fds["orders"])
    start = orders.receive(keeper)
    if start is None:
        os._exit(0)
    order.fds.update(start.fds)
    if failure is not None:
        raise failure
    keeper.detach()  # closed with all others, when the child is dressed
