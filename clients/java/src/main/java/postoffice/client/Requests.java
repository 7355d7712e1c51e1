package postoffice.client;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeoutException;

/** Requests whose answers are awaited. The first message from the asked address with the request's id answers. Lives on the loop. */
final class Requests {
    private static final class Request {
        final List<String> asked;
        final CompletableFuture<Message> answer;

        Request(List<String> asked, CompletableFuture<Message> answer) {
            this.asked = asked;
            this.answer = answer;
        }
    }

    private final Engine engine;
    private final Map<String, Request> waiting = new HashMap<>();

    Requests(Engine engine) {
        this.engine = engine;
    }

    /** On any thread. */
    CompletableFuture<Message> ask(Letter letter, Duration timeout) {
        CompletableFuture<Message> answer = new CompletableFuture<>();
        List<String> asked = letter.recipients();
        String id = (String) letter.envelope(Message.MAIL, java.util.UUID.randomUUID().toString()).get("id");
        letter.id(id);
        engine.loop.execute(() -> {
            if (engine.isClosed()) {
                engine.fail(answer, engine.closed());
                return;
            }
            waiting.put(id, new Request(asked, answer));
            engine.loop.after(timeout.toMillis(), () -> giveUp(id, timeout));
        });
        engine.send(letter, Message.MAIL).whenComplete((accepted, failure) -> {
            if (failure != null) {
                answer.completeExceptionally(failure);
                engine.loop.execute(() -> waiting.remove(id));
            }
        });
        return answer;
    }

    private void giveUp(String id, Duration timeout) {
        Request request = waiting.remove(id);
        if (request != null) {
            engine.outbox.withdraw(id); // a request that has not left yet does not leave any more
            engine.fail(request.answer, new TimeoutException("no answer within " + timeout.toMillis() + " ms"));
        }
    }

    boolean isAwaiting() {
        return !waiting.isEmpty();
    }

    boolean answered(Message message) {
        Request request = message.inReplyTo() == null ? null : waiting.get(message.inReplyTo());
        if (request == null || !request.asked.contains(message.from())) {
            return false;
        }
        waiting.remove(message.inReplyTo());
        engine.settle(request.answer, message);
        return true;
    }

    void end() {
        List<Request> all = new ArrayList<>(waiting.values());
        waiting.clear();
        all.forEach(request -> engine.fail(request.answer, engine.closed()));
    }
}
