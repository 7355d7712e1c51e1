"""The table of behaviours: what every client library promises, whatever its language. test_behaviours.py plays it.

Each row is a promise that a user of a library would notice when it is broken. A row gets a World (world.py), and sees
through it what an application sees, and what a peer of another project sees on the wire. The rows stand in files by
subject; this list is all of them.
"""

import behaviours_connecting
import behaviours_groups
import behaviours_lasting
import behaviours_receiving
import behaviours_sending
import behaviours_service

ROWS = [*behaviours_connecting.ROWS, *behaviours_sending.ROWS, *behaviours_receiving.ROWS, *behaviours_groups.ROWS,
        *behaviours_service.ROWS, *behaviours_lasting.ROWS]
