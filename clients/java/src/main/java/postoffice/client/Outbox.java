package postoffice.client;

import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Set;

/**
 * Messages that have no answer yet, in the storage too. A message without an answer is sent again on the next connection under
 * the same id, so the server knows a repetition.
 *
 * <p>The idea of the order: each recipient has a queue, and a message is sent when the message is the first in the queues of
 * all its recipients. So nothing overtakes, whatever is rejected and has to be repeated, and other recipients do not wait.
 * Lives on the loop.
 */
final class Outbox {
    private static final String KEY = "out/";
    private static final int RECEIPTS_MAX = 10_000;

    private static final class Entry {
        final long number;
        final Sending sending;
        final String json; // without `from` unless the application named one
        final boolean hasFrom;
        final boolean wantsReceipt;
        final Set<String> recipients;
        int behind; // queues in which another message is first
        boolean underWay;
        boolean resting; // until the time that a rejection named

        Entry(long number, Sending sending, Map<String, Object> envelope) {
            this.number = number;
            this.sending = sending;
            json = Json.write(envelope);
            hasFrom = envelope.containsKey("from");
            wantsReceipt = envelope.get("receipt") instanceof Number;
            recipients = new LinkedHashSet<>(Message.texts(envelope.get("to")));
            recipients.addAll(Message.texts(envelope.get("cc")));
        }
    }

    private final Engine engine;
    private final Map<String, Entry> entries = new LinkedHashMap<>();
    private final Map<String, Deque<Entry>> queues = new HashMap<>();
    private final PriorityQueue<Entry> ready = new PriorityQueue<>(Comparator.comparingLong((Entry entry) -> entry.number));
    private final Map<String, Sending> receipts = new LinkedHashMap<>();
    private long bytes;
    private long lastNumber;
    private int underWay;
    private boolean unforced;

    Outbox(Engine engine) {
        this.engine = engine;
    }

    /** Takes up what an earlier process left. */
    List<Sending> load(Map<String, String> stored) {
        List<String> keys = new ArrayList<>();
        stored.keySet().stream().filter(key -> key.startsWith(KEY)).sorted().forEach(keys::add);
        List<Sending> sendings = new ArrayList<>();
        for (String key : keys) {
            Map<String, Object> envelope = Message.map(Json.parse(stored.get(key)));
            lastNumber = Long.parseLong(key.substring(KEY.length()));
            Sending sending = new Sending((String) envelope.get("id"));
            insert(new Entry(lastNumber, sending, envelope));
            sendings.add(sending);
        }
        return sendings;
    }

    int count() {
        return entries.size();
    }

    boolean isAwaiting() {
        return underWay > 0;
    }

    /** The message under way that has this id, or null. */
    Sending find(String id) {
        Entry entry = entries.get(id);
        return entry == null ? null : entry.sending;
    }

    /** The message that asked for receipts and has this id, or null. */
    Sending receiptOf(String id) {
        return receipts.get(id);
    }

    void add(Sending sending, Map<String, Object> envelope) {
        Entry same = entries.get(sending.id());
        if (same != null) { // the same id is the same message
            follow(same.sending, sending);
            return;
        }
        Entry entry = new Entry(lastNumber + 1, sending, envelope);
        if (entries.size() >= engine.options.outboxMessages || bytes + entry.json.length() > engine.options.outboxBytes) {
            engine.fail(sending, new PostOfficeException("outbox-full", entries.size() + " messages wait already", null));
            return;
        }
        if (isTooLarge(entry)) {
            return;
        }
        if (!engine.keeper.write(Map.of(key(entry), entry.json))) {
            engine.fail(sending, new PostOfficeException("storage", "the message could not be stored", null));
            return;
        }
        lastNumber++;
        unforced = true;
        insert(entry);
        pump();
    }

    private static void follow(Sending first, Sending second) {
        first.whenComplete((accepted, failure) -> {
            if (failure != null) {
                second.completeExceptionally(failure);
            } else {
                second.complete(accepted);
            }
        });
        first.onReceipt(second::told);
    }

    private static String key(Entry entry) {
        return String.format("%s%016d", KEY, entry.number);
    }

    private void insert(Entry entry) {
        entries.put(entry.sending.id(), entry);
        bytes += entry.json.length();
        if (entry.wantsReceipt) {
            receipts.put(entry.sending.id(), entry.sending);
            if (receipts.size() > RECEIPTS_MAX) {
                receipts.remove(receipts.keySet().iterator().next());
            }
        }
        if (engine.options.ordered) {
            for (String recipient : entry.recipients) {
                Deque<Entry> queue = queues.computeIfAbsent(recipient, name -> new ArrayDeque<>());
                entry.behind += queue.isEmpty() ? 0 : 1;
                queue.add(entry);
            }
        }
        if (entry.behind == 0) {
            ready.add(entry);
        }
    }

    void pump() {
        if (!engine.isOpen() || ready.isEmpty() || underWay >= engine.options.sendWindow) {
            return;
        }
        if (unforced) {
            engine.keeper.force();
            unforced = false;
        }
        while (engine.isOpen() && !ready.isEmpty() && underWay < engine.options.sendWindow) {
            Entry entry = ready.remove();
            if (isTooLarge(entry)) {
                remove(entry);
                continue;
            }
            entry.underWay = true;
            underWay++;
            engine.transmit(text(entry));
        }
    }

    private String text(Entry entry) {
        return entry.hasFrom ? entry.json : "{\"from\":" + Json.write(engine.address()) + "," + entry.json.substring(1);
    }

    /** Fails a message that the server would close the session for. Nothing is known of that before the first `welcome`. */
    private boolean isTooLarge(Entry entry) {
        long most = engine.messageBytesMax();
        if (most <= 0 || entry.json.length() * 3L + 1000 < most) {
            return false;
        }
        long size = text(entry).getBytes(StandardCharsets.UTF_8).length;
        if (size <= most) {
            return false;
        }
        String why = size + " bytes, and the server takes " + most;
        engine.fail(entry.sending, new RejectedException("too-large", why, null, entry.sending.id(), List.of()));
        return true;
    }

    boolean accepted(Message answer) {
        Entry entry = entries.get(answer.inReplyTo());
        if (entry == null) {
            return false;
        }
        remove(entry);
        engine.settle(entry.sending, new Accepted(entry.sending.id(), (int) answer.number("state", 1),
                Message.refusals(answer.fields().get("refused"))));
        pump();
        return true;
    }

    boolean rejected(Message answer) {
        Entry entry = entries.get(answer.inReplyTo());
        if (entry == null) {
            return false;
        }
        long retryAfterMs = answer.number("retryAfter", -1);
        if (retryAfterMs >= 0) {
            rest(entry, retryAfterMs);
        } else {
            fail(entry, Engine.rejection(answer));
        }
        pump();
        return true;
    }

    private void rest(Entry entry, long retryAfterMs) {
        landed(entry);
        entry.resting = true;
        engine.loop.after(retryAfterMs, () -> {
            if (entries.get(entry.sending.id()) == entry) {
                entry.resting = false;
                ready.add(entry);
                pump();
            }
        });
    }

    /** The server closed the session for a message that is too large: the largest of those without an answer. */
    void tooLarge() {
        entries.values().stream().filter(entry -> entry.underWay).max(Comparator.comparingInt(entry -> entry.json.length()))
                .ifPresent(entry -> fail(entry, new RejectedException("too-large", "the server does not take so large a message",
                        null, entry.sending.id(), List.of())));
    }

    private void fail(Entry entry, RejectedException why) {
        remove(entry);
        if (entry.sending.getNumberOfDependents() == 0) { // nobody waits: of an earlier process, perhaps
            engine.events.error(why);
        }
        engine.fail(entry.sending, why);
    }

    /** Takes back a message that has not left; true when the message is gone. */
    boolean withdraw(String id) {
        Entry entry = entries.get(id);
        if (entry == null || entry.underWay) {
            return false;
        }
        remove(entry);
        return true;
    }

    private void landed(Entry entry) {
        if (entry.underWay) {
            entry.underWay = false;
            underWay--;
        }
    }

    private void remove(Entry entry) {
        landed(entry);
        ready.remove(entry);
        entries.remove(entry.sending.id());
        bytes -= entry.json.length();
        Map<String, String> gone = new HashMap<>();
        gone.put(key(entry), null);
        engine.keeper.write(gone);
        if (!engine.options.ordered) {
            return;
        }
        for (String recipient : entry.recipients) {
            leave(recipient, entry);
        }
    }

    private void leave(String recipient, Entry entry) {
        Deque<Entry> queue = queues.get(recipient);
        boolean wasFirst = queue.peek() == entry;
        queue.remove(entry);
        if (queue.isEmpty()) {
            queues.remove(recipient);
        } else if (wasFirst && --queue.peek().behind == 0) {
            ready.add(queue.peek());
        }
    }

    /** What was under way may or may not have been stored: the same messages go again. */
    void linkLost() {
        for (Entry entry : entries.values()) {
            if (entry.underWay) {
                landed(entry);
                ready.add(entry);
            }
        }
    }

    /** The storage keeps what waits; a client that begins with that storage sends it. */
    void end() {
        List<Entry> all = new ArrayList<>(entries.values());
        entries.clear();
        queues.clear();
        ready.clear();
        all.forEach(entry -> engine.fail(entry.sending, engine.closed()));
    }
}
