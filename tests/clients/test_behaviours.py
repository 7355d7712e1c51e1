"""Every client library keeps every promise of behaviours.py, over every way to run the server.

`make test` tries Python and JavaScript in two variants; `make clients-test` (POSTOFFICE_CLIENTS_ALL) tries all libraries
in all eight. A library whose toolchain is missing is skipped by name. Rows that take seconds, or that restart a part of
the office, run in the two variants of `make test` alone.
"""

import os

import pytest

import behaviours
from drivers import LIBRARIES
from office import FEW, VARIANTS

ALL = bool(os.environ.get("POSTOFFICE_CLIENTS_ALL"))


def cases():
    for library in LIBRARIES if ALL else LIBRARIES[:2]:
        for variant in VARIANTS if ALL else FEW:
            for row in behaviours.ROWS:
                if row.everywhere or variant in FEW:
                    # One process runs all rows of a library and variant: these share their office.
                    yield pytest.param(library, variant, row, id=f"{library}-{variant}-{row.promise}",
                                       marks=pytest.mark.xdist_group(f"{library}-{variant}"))


@pytest.mark.parametrize("library, variant, row", cases())
def test_behaviour(world, row):
    row.play(world)


def test_the_table_is_whole():
    promises = [row.promise for row in behaviours.ROWS]
    assert len(promises) == len(set(promises)), "two rows promise the same"
    assert len(promises) >= 60
