#!/usr/bin/python3
"""What an idle TCP connection costs the kernel of the server: growth of its slabs by connections that say nothing.

Both ends are here; the client's end has no epoll entry, all else is the same at both ends. Wants a machine on which little
else opens and closes sockets meanwhile; needs root (/proc/slabinfo).
"""

import resource
import select
import socket

BOTH_ENDS = ("TCP", "sock_inode_cache", "filp", "dentry", "lsm_inode_cache", "lsm_file_cache")


def slabs():
    """Bytes of active objects by slab."""
    lines = [line.split() for line in open("/proc/slabinfo", encoding="ascii")]
    return {name: int(active) * int(size) for name, active, _, size, *_ in lines[2:]}


def main():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    count = min(8000, limit // 2 - 50)
    listener, poll, held = socket.create_server(("127.0.0.1", 0), backlog=4096), select.epoll(), []
    before = slabs()
    for _ in range(count):
        client = socket.create_connection(listener.getsockname())
        server = listener.accept()[0]
        poll.register(server, select.EPOLLIN)
        held += [client, server]
    grown = {name: (size - before.get(name, 0)) / count for name, size in slabs().items()}
    grown = {name: size / 2 if name in BOTH_ENDS else size for name, size in grown.items() if size > 8}
    for name, size in sorted(grown.items(), key=lambda pair: -pair[1]):
        print(f"{name:<20}{size:8.0f}")
    print(f"{'a connection':<20}{sum(grown.values()):8.0f} bytes, of {count}")


main()
