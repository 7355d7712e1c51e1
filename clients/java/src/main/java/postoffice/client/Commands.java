package postoffice.client;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * Commands to the server and their answers. A command waits for a connection, is repeated on the next one when its answer did
 * not come, and after the time that the server names when the server is busy. A bound command belongs to one connection and
 * fails with it. Lives on the loop.
 */
final class Commands {
    private static final int UNDER_WAY_MAX = 32; // the server lets 64 wait (limits.commandsWaiting)

    private static final class Command {
        final Map<String, Object> fields;
        final boolean bound;
        final boolean urgent;
        final CompletableFuture<Map<String, Object>> answer = new CompletableFuture<>();

        Command(Map<String, Object> fields, boolean bound, boolean urgent) {
            this.fields = fields;
            this.bound = bound;
            this.urgent = urgent;
        }
    }

    /** Said of a bound command whose connection has ended. */
    static final class LinkLost extends PostOfficeException {
        private static final long serialVersionUID = 1L;

        LinkLost() {
            super("disconnected", "the connection ended before the answer came", null);
        }
    }

    private final Engine engine;
    private final Deque<Command> waiting = new ArrayDeque<>();
    private final Map<String, Command> underWay = new LinkedHashMap<>();
    private int usual; // of those under way: the ones that are not urgent

    Commands(Engine engine) {
        this.engine = engine;
    }

    CompletableFuture<Map<String, Object>> run(String subject, Map<String, Object> fields, boolean bound) {
        return begin(subject, fields, bound, false);
    }

    /** A bound command that waits for no other one. */
    CompletableFuture<Map<String, Object>> runNow(String subject, Map<String, Object> fields) {
        return begin(subject, fields, true, true);
    }

    private CompletableFuture<Map<String, Object>> begin(String subject, Map<String, Object> fields, boolean bound, boolean urgent) {
        Map<String, Object> all = new LinkedHashMap<>(fields);
        all.put("to", List.of("postmaster"));
        all.put("type", Message.CONTROL);
        all.put("subject", subject);
        all.put("content", "");
        all.put("id", "c:" + UUID.randomUUID());
        Command command = new Command(all, bound, urgent);
        if (bound && !engine.isOpen()) {
            command.answer.completeExceptionally(new LinkLost());
        } else {
            queue(command);
        }
        return command.answer;
    }

    boolean isAwaiting() {
        return usual > 0;
    }

    private void queue(Command command) {
        if (command.urgent) {
            transmit(command);
        } else {
            waiting.add(command);
            pump();
        }
    }

    void pump() {
        while (engine.isOpen() && !waiting.isEmpty() && usual < UNDER_WAY_MAX) {
            transmit(waiting.remove());
        }
    }

    private void transmit(Command command) {
        Map<String, Object> message = new LinkedHashMap<>();
        message.put("from", engine.address());
        message.putAll(command.fields);
        underWay.put((String) command.fields.get("id"), command);
        usual += command.urgent ? 0 : 1;
        engine.transmit(Json.write(message));
    }

    private Command landed(String id) {
        Command command = underWay.remove(id);
        usual -= command == null || command.urgent ? 0 : 1;
        return command;
    }

    /** Takes a `result`; false when that answers no command of this client. */
    boolean answered(Message result) {
        Command command = landed(result.inReplyTo());
        if (command == null) {
            return false;
        }
        command.answer.complete(result.fields());
        pump();
        return true;
    }

    boolean rejected(Message rejection) {
        Command command = landed(rejection.inReplyTo());
        if (command == null) {
            return false;
        }
        long retryAfterMs = rejection.number("retryAfter", -1);
        if (retryAfterMs < 0) {
            command.answer.completeExceptionally(Engine.rejection(rejection));
            pump();
            return true;
        }
        engine.loop.after(retryAfterMs, () -> again(command));
        pump();
        return true;
    }

    private void again(Command command) {
        if (command.bound && !engine.isOpen()) {
            command.answer.completeExceptionally(new LinkLost());
        } else if (engine.isClosed()) {
            command.answer.completeExceptionally(engine.closed());
        } else {
            queue(command);
        }
    }

    /** What was under way goes before what had not begun, in the old order. */
    void linkLost() {
        List<Command> all = new ArrayList<>(underWay.values());
        all.addAll(waiting);
        underWay.clear();
        usual = 0;
        waiting.clear();
        for (Command command : all) {
            if (command.bound) {
                command.answer.completeExceptionally(new LinkLost());
            } else {
                waiting.add(command);
            }
        }
    }

    void end() {
        linkLost();
        List<Command> all = new ArrayList<>(waiting);
        waiting.clear();
        all.forEach(command -> command.answer.completeExceptionally(engine.closed()));
    }
}
