"""Mail flows between clients of all libraries while workers are killed, links are cut, Redis restarts, and the drivers
themselves are killed and started again on their storage: nothing lost, nothing handled twice, order kept.

The clients' journals alone are judged (journals.py). Each act falls upon sends that are under way; before a driver is
killed its clients have said that their sends are in the outbox, so that each of these must arrive.
"""

import os

import pytest

import harness
from drivers import LIBRARIES, Driver
from journals import Person, judge
from link import Link
from office import FEW, Office
from world import SHORT

ALL = bool(os.environ.get("POSTOFFICE_CLIENTS_ALL"))
BURST = 8
CONFIG = {"limits": {"messagesPerSecond": 0}, "mailbox": {"durability": "fsync"}}


class Correspondent:
    """A person with one device: a client of a library, whose storage and link outlive its driver."""

    def __init__(self, party, library, number):
        self.party, self.library = party, library
        self.address = f"{library}-{number}"
        self.link = Link([party.office.port(node) for node in range(len(party.office.servers))])
        self.folder = party.office.directory / self.address
        self.folder.mkdir()
        self.person = Person(self.address)
        self.client = None
        self.sent = 0
        self.under_way = []

    def live(self, driver):
        """Begins a life in this driver."""
        office = self.party.office
        options = {**SHORT, "url": office.url(self.link.port), "address": self.address, "tokens": [office.token(self.address)],
                   "storage": str(self.folder)}
        if office.variant.secure:
            options["caFile"] = str(office.trust)
        self.client = driver.open(self.address, self.address, options=options, handle="auto")
        self.client.connect()
        # What the life before has left leaves first: then the outbox tells of this life's sends alone.
        harness.wait_until(lambda: self.client.do("stats")["outbox"] == 0, f"the outbox of {self.address} is empty")

    def write(self, count):
        """So many mails to everybody else, none of them awaited."""
        others = [each.address for each in self.party.people if each is not self]
        for _ in range(count):
            message_id = f"{self.address}.{self.sent}"
            self.sent += 1
            self.under_way.append(self.client.begin_send(others, message_id, id=message_id))

    def has_taken_all(self):
        """Whether each send is settled or in the outbox."""
        settled = sum(send.done for send in self.under_way)
        return self.client.do("stats")["outbox"] + settled >= len(self.under_way)

    def die(self):
        """What the library told in the life that has ended. Sends that had no answer are the successor's."""
        self.close_book()
        for send in self.under_way:
            if send.done:
                assert send.result()["state"] == 1
        self.under_way = []

    def close_book(self):
        book = [(kind, data["id"]) for kind, data in self.client.events if kind in ("message", "handled")]
        self.person.lives.append(book)

    def wait_for(self, expected):
        """Waits until all of these were shown. A failure names what is missing, and what the library told last."""
        try:
            self.client.driver.wait(lambda: self.shown().issuperset(expected), f"all mail for {self.address}")
        except AssertionError as error:
            missing = sorted(set(expected) - self.shown())
            raise AssertionError(f"{error}: {missing[:40]} of {len(expected)}; {self.client.events[-5:]}") from None

    def shown(self):
        before = {message_id for life in self.person.lives for kind, message_id in life if kind == "message"}
        return before | {data["id"] for kind, data in list(self.client.events) if kind == "message"}


class Party:
    """All correspondents, the drivers they live in, and the office."""

    def __init__(self, office, libraries):
        self.office = office
        self.drivers = {}
        self.people = [Correspondent(self, library, number) for library in libraries for number in range(2)]
        for library in libraries:
            self.start(library)

    def start(self, library):
        self.drivers[library] = Driver(library, self.office.trust)
        for each in self.people:
            if each.library is library:
                each.live(self.drivers[library])

    def write(self):
        for each in self.people:
            each.write(BURST)

    def kill(self, library):
        """SIGKILL for the driver while its clients have sends under way, and a successor on their storage."""
        mine = [each for each in self.people if each.library is library]
        for each in mine:
            harness.wait_until(each.has_taken_all, f"{each.address} has taken all that it was given")
        driver = self.drivers[library]
        driver.kill()
        driver.wait_end()
        for each in mine:
            each.die()
        self.start(library)

    def expected(self, reader):
        return [f"{each.address}.{number}" for each in self.people if each is not reader for number in range(each.sent)]

    def settle(self):
        """Waits until every send is settled and everybody has seen everything."""
        for each in self.people:
            for send in each.under_way:
                assert not send.result()["refused"]
        for each in self.people:
            each.wait_for(self.expected(each))

    def findings(self):
        for each in self.people:
            each.close_book()
        return [finding for each in self.people for finding in judge(each.person, self.expected(each))]

    def stop(self):
        for driver in self.drivers.values():
            driver.stop()
        for each in self.people:
            each.link.stop()


@pytest.fixture
def party(variant, request):
    libraries = [library for library in (LIBRARIES if ALL else LIBRARIES[:2]) if not library.missing()]
    if not libraries:
        pytest.skip("no library can run here")
    office = Office(variant, CONFIG, durable=True)
    made = None
    try:
        made = Party(office, libraries)
        yield made
    finally:
        if made and request.node.report_call.failed:
            for driver in made.drivers.values():
                print(f"\n---- {driver.library} driver", *list(driver.said)[-400:], sep="\n")
        if made:
            made.stop()
        office.stop()


@pytest.mark.parametrize("variant", [pytest.param(each, id=str(each), marks=pytest.mark.xdist_group(f"loss-{each}"))
                                     for each in (FEW if ALL else FEW[1:])])
def test_nothing_is_lost_nothing_is_handled_twice_and_order_is_kept(party):
    office = party.office
    for _ in range(2):
        for node in range(len(office.servers)):
            for slot in range(2):
                party.write()
                office.kill_worker(node, slot)
        party.write()
        for each in party.people:
            each.link.cut()
        party.write()
        office.restart_redis()
        for library in party.drivers:
            party.write()
            party.kill(library)
        party.write()
        for each in party.people:
            each.link.hold_answers()
        party.write()
        for each in party.people:
            each.link.let_answers()
    party.settle()
    # What would come twice stands before the mail of this last round.
    party.write()
    party.settle()
    findings = party.findings()
    assert not findings, "\n".join(findings[:50])


# The judge finds what is planted into a correct journal.

def correct():
    life = [(kind, f"a.{number}") for number in range(4) for kind in ("message", "handled")]
    return Person("b", [life[:4], life[4:]]), [f"a.{number}" for number in range(4)]


def test_a_correct_journal_has_no_findings():
    assert not judge(*correct())


def test_a_message_whose_handler_died_may_come_again():
    person, expected = correct()
    person.lives[0].append(("message", "a.2"))
    assert not judge(person, expected)


def test_a_lost_message_is_found():
    person, expected = correct()
    person.lives[1] = person.lives[1][2:]
    assert judge(person, expected) == ["b was never shown a.2"]


def test_a_repetition_is_found_in_one_life_and_over_two():
    person, expected = correct()
    person.lives[1].append(("message", "a.3"))
    person.lives[1].append(("message", "a.0"))
    assert judge(person, expected) == ["b was shown a.3 again", "b was shown a.0 again"]


def test_a_wrong_order_is_found():
    person, expected = correct()
    person.lives[1] = person.lives[1][2:] + person.lives[1][:2]
    assert judge(person, expected) == ["b was shown a.2 behind a.3"]


def test_a_message_that_nobody_sent_is_found():
    person, expected = correct()
    assert judge(person, expected[:3]) == ["b was shown a.3, which nobody sent"]
