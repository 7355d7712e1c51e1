package postoffice.client;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import java.util.function.Supplier;
import javax.net.ssl.SSLContext;

/**
 * A client of a PostOffice server: connects, stays connected, sends until the server has accepted, and gives each message to the
 * application once.
 *
 * <pre>{@code
 * try (PostOffice office = PostOffice.builder("wss://post.example.com/ws").token(token).build()) {
 *     office.onMessage(message -> System.out.println(message.from() + ": " + message.text()));
 *     office.connect();
 *     office.send(Letter.to("bob").text("At one?"));
 * }
 * }</pre>
 *
 * <p>Methods that wait have a twin that ends in {@code Async} and returns a future. What waits, waits until there is an answer,
 * over lost connections too, or until the client is closed; a future's {@code orTimeout} bounds that.
 *
 * <p>Handlers and listeners are set before {@code connect()}. Handlers run on threads named {@code postoffice-worker} (or the
 * {@link Builder#executor}), listeners one after the other on one of those. All methods may be called from any thread.
 * A client keeps the program running until it is closed.
 */
public final class PostOffice implements AutoCloseable {
    private final Engine engine;

    private PostOffice(Engine engine) {
        this.engine = engine;
    }

    /**
     * Begins to describe a client.
     *
     * @param url where the server is, path included: {@code ws://} or {@code wss://}
     * @return a builder
     */
    public static Builder builder(String url) {
        return new Builder(URI.create(url));
    }

    // Connecting and ending.

    /**
     * Connects, and returns when the server has said {@code welcome}. A server that is away is tried again and again.
     *
     * @return how the session stands
     * @throws InterruptedException when the thread is interrupted; connecting goes on
     * @throws ClosedException when the server refuses what trying again does not mend
     */
    public Welcome connect() throws InterruptedException {
        return Wait.on(connectAsync());
    }

    /**
     * Like {@link #connect}, without waiting.
     *
     * @return settles at the first {@code welcome}
     */
    public CompletableFuture<Welcome> connectAsync() {
        return engine.connect().copy();
    }

    /** Ends the wait before the next attempt to connect: whoever knows that the network is back calls this. */
    public void reconnectNow() {
        engine.hurry();
    }

    /**
     * Waits for handlers that run, acknowledges what is handled, and ends for good. What was not accepted fails with
     * {@link ClosedException}, and stays in a storage that lasts.
     */
    @Override
    public void close() {
        CompletableFuture<Void> ended = closeAsync();
        if (engine.isWorker()) { // a handler that waited for the end of all handlers would wait for itself
            return;
        }
        try {
            ended.get(20, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (java.util.concurrent.ExecutionException | TimeoutException e) {
            throw new PostOfficeException("internal", "the client did not end", e);
        }
    }

    /**
     * Like {@link #close}, without waiting.
     *
     * @return settles when the client has ended
     */
    public CompletableFuture<Void> closeAsync() {
        return engine.close().copy();
    }

    /**
     * Where the client stands.
     *
     * @return the state
     */
    public State state() {
        return engine.state();
    }

    /**
     * The address that this client speaks for.
     *
     * @return an address; null before the first {@code welcome} when the token alone names it
     */
    public String address() {
        return engine.address();
    }

    /**
     * The name of this client among those of its address.
     *
     * @return the device
     */
    public String device() {
        return engine.options.device;
    }

    /**
     * The server's latest {@code welcome}.
     *
     * @return how the session stood then, or null
     */
    public Welcome welcome() {
        return engine.welcome();
    }

    /**
     * Numbers for a monitor.
     *
     * @return numbers of this moment
     */
    public Stats stats() {
        return Wait.now(onLoop(engine::stats));
    }

    // Sending.

    /**
     * Sends mail, and returns when the server has accepted.
     *
     * @param letter to users
     * @return the server's word
     * @throws InterruptedException when the thread is interrupted; the message goes all the same
     * @throws RejectedException when nobody gets the message
     */
    public Accepted send(Letter letter) throws InterruptedException {
        return Wait.on(sendAsync(letter));
    }

    /**
     * Sends mail. The message waits in the outbox until the server has accepted; past the outbox's bounds this fails at once.
     *
     * @param letter to users
     * @return settles with the server's word
     */
    public Sending sendAsync(Letter letter) {
        return engine.send(letter, Message.MAIL);
    }

    /**
     * Posts to groups, and returns when the server has accepted.
     *
     * @param letter to groups
     * @return the server's word
     * @throws InterruptedException when the thread is interrupted; the post goes all the same
     * @throws RejectedException when no group gets the post
     */
    public Accepted post(Letter letter) throws InterruptedException {
        return Wait.on(postAsync(letter));
    }

    /**
     * Posts to groups.
     *
     * @param letter to groups
     * @return settles with the server's word
     */
    public Sending postAsync(Letter letter) {
        return engine.send(letter, Message.POST);
    }

    /**
     * Sends a signal to whoever is connected now. Signals are never kept and never answered.
     *
     * @param letter to users or groups
     * @return true when the signal was handed to a connection
     */
    public boolean signal(Letter letter) {
        return engine.signal(letter);
    }

    /**
     * Messages that an earlier process left in the storage; they are sent when the client is connected.
     *
     * @return one for each message
     */
    public List<Sending> leftOver() {
        return List.copyOf(engine.left);
    }

    /**
     * Sends a request, and returns the answer: the first message from an asked address with the request's id in
     * {@code inReplyTo}. An answer that comes later is a message like any other.
     *
     * @param letter to a service, or to anybody who answers
     * @param timeout how long to wait
     * @return the answer
     * @throws InterruptedException when the thread is interrupted
     * @throws TimeoutException when no answer came in time
     */
    public Message request(Letter letter, Duration timeout) throws InterruptedException, TimeoutException {
        CompletableFuture<Message> answer = requestAsync(letter, timeout);
        try {
            return answer.get();
        } catch (java.util.concurrent.ExecutionException e) {
            if (e.getCause() instanceof TimeoutException) {
                throw (TimeoutException) e.getCause();
            }
            throw Wait.unchecked(e.getCause());
        }
    }

    /**
     * Like {@link #request}, without waiting.
     *
     * @param letter to a service, or to anybody who answers
     * @param timeout after this time the future fails with {@link TimeoutException}
     * @return settles with the answer
     */
    public CompletableFuture<Message> requestAsync(Letter letter, Duration timeout) {
        return engine.requests.ask(letter, timeout);
    }

    // Receiving.

    /**
     * Sets what is done with mail and posts: one message at a time, in order, each once. A message is acknowledged when the
     * handler has returned.
     *
     * @param handler called on a worker
     * @throws IllegalStateException when there is a handler or an iterator already
     */
    public void onMessage(Handler handler) {
        consume(() -> engine.inbox.handle(handler, 1));
    }

    /**
     * Mail and posts for a loop of the application's own, in place of a handler. A message counts as handled when the next one
     * is asked for. The loop ends when the client is closed.
     *
     * @return the messages, for one thread
     * @throws IllegalStateException when there is a handler or an iterator already
     */
    public Iterable<Message> messages() {
        consume(engine.inbox::iterate);
        return new Incoming(engine);
    }

    /**
     * Works for a service address: handlers run side by side, and what a handler returns is sent as the answer.
     *
     * @param concurrency so many handlers at a time
     * @param handler called on a worker
     * @throws IllegalStateException when there is a handler or an iterator already
     */
    public void serve(int concurrency, ServiceHandler handler) {
        if (concurrency < 1) {
            throw new IllegalArgumentException("concurrency " + concurrency);
        }
        consume(() -> engine.inbox.handle(new Answers(engine, handler), concurrency));
    }

    private void consume(Runnable claim) {
        Wait.now(onLoop(() -> {
            claim.run();
            return null;
        }));
    }

    private <T> CompletableFuture<T> onLoop(Supplier<T> question) {
        CompletableFuture<T> answer = new CompletableFuture<>();
        engine.loop.execute(() -> {
            try {
                answer.complete(question.get());
            } catch (RuntimeException e) {
                answer.completeExceptionally(e);
            }
        });
        return answer;
    }

    /**
     * What a handler kept beside a message.
     *
     * @param key the name
     * @return the word, or null
     * @see Message#keep
     */
    public String kept(String key) {
        return Wait.now(onLoop(() -> engine.keeper.kept(key)));
    }

    // Commands.

    /**
     * Takes a mail back wherever nobody has acknowledged it.
     *
     * @param id of a mail that this address has sent
     * @return what was done
     * @throws InterruptedException when the thread is interrupted
     * @throws RejectedException {@code not-found} when the server does not know the mail
     */
    public Recall recall(String id) throws InterruptedException {
        return Wait.on(recallAsync(id));
    }

    /**
     * Like {@link #recall}, without waiting. A mail that has no answer yet is recalled when the answer has come.
     *
     * @param id of a mail that this address has sent
     * @return settles with what was done
     */
    public CompletableFuture<Recall> recallAsync(String id) {
        return command(() -> {
            Sending sending = engine.outbox.find(id);
            CompletableFuture<?> before = sending == null ? CompletableFuture.completedFuture(null) : sending;
            return before.handle((accepted, failure) -> null)
                    .thenComposeAsync(done -> engine.commands.run("recall", Map.of("inReplyTo", id), false), engine.loop)
                    .thenApply(result -> new Recall(Message.texts(result.get("recalled")), Message.refusals(result.get("notRecalled"))));
        });
    }

    /**
     * Reads stored messages, newest first, page by page as the loop goes on.
     *
     * @param query which messages
     * @return messages; every iterator begins anew
     */
    public Iterable<Message> history(HistoryQuery query) {
        return new History(engine, query);
    }

    /**
     * Reads one page of stored messages.
     *
     * @param query which messages
     * @return settles with the page
     */
    public CompletableFuture<HistoryPage> historyAsync(HistoryQuery query) {
        return engine.hand(History.page(engine, query));
    }

    /**
     * Asks who is connected.
     *
     * @param addresses whom to look for
     * @return the devices of each that is connected; an empty list for one that is not
     * @throws InterruptedException when the thread is interrupted
     */
    public Map<String, List<String>> presence(String... addresses) throws InterruptedException {
        return Wait.on(presenceAsync(addresses));
    }

    /**
     * Like {@link #presence}, without waiting.
     *
     * @param addresses whom to look for
     * @return settles with the devices of each
     */
    public CompletableFuture<Map<String, List<String>>> presenceAsync(String... addresses) {
        List<String> all = List.of(addresses);
        return command(() -> engine.commands.run("presence", Map.of("tags", all), false).thenApply(result -> {
            Map<String, List<String>> online = new LinkedHashMap<>();
            Message.map(result.get("online")).forEach((address, devices) -> online.put(address, Message.texts(devices)));
            return online;
        }));
    }

    /**
     * Subscribes to groups, on every later connection too. Without a place the posts begin where this device has acknowledged,
     * or now.
     *
     * @param groups groups that the token allows
     * @return where each group's log stands
     * @throws InterruptedException when the thread is interrupted
     * @throws RejectedException when one of them is not allowed: then none is subscribed to
     */
    public Map<String, Subscription> subscribe(String... groups) throws InterruptedException {
        return Wait.on(subscribeAsync(Arrays.asList(groups), null, null));
    }

    /**
     * Subscribes to groups from a place on.
     *
     * @param groups groups that the token allows
     * @param since a place behind which posts are replayed, {@code now}, or null
     * @param epoch the epoch in which that place was seen, or null
     * @return settles with where each group's log stands
     */
    public CompletableFuture<Map<String, Subscription>> subscribeAsync(List<String> groups, String since, String epoch) {
        List<String> names = List.copyOf(groups);
        return command(() -> engine.subscriptions.subscribe(names, since, epoch));
    }

    /**
     * Leaves groups.
     *
     * @param groups groups; one that is not subscribed to is no error
     * @throws InterruptedException when the thread is interrupted
     */
    public void unsubscribe(String... groups) throws InterruptedException {
        Wait.on(unsubscribeAsync(groups));
    }

    /**
     * Like {@link #unsubscribe}, without waiting.
     *
     * @param groups groups
     * @return settles when no post of them comes any more
     */
    public CompletableFuture<Void> unsubscribeAsync(String... groups) {
        List<String> names = new ArrayList<>(Arrays.asList(groups));
        return command(() -> engine.subscriptions.unsubscribe(names));
    }

    private <T> CompletableFuture<T> command(Supplier<CompletableFuture<T>> begin) {
        CompletableFuture<T> done = new CompletableFuture<>();
        engine.loop.execute(() -> {
            if (engine.isClosed()) {
                engine.fail(done, engine.closed());
                return;
            }
            engine.hand(begin.get()).whenComplete((value, failure) -> {
                if (failure == null) {
                    done.complete(value);
                } else {
                    done.completeExceptionally(failure);
                }
            });
        });
        return done;
    }

    // Events.

    /**
     * Tells every change of the state.
     *
     * @param listener called on the thread of events
     */
    public void onState(Consumer<StateChange> listener) {
        engine.events.state.add(listener);
    }

    /**
     * Tells every {@code welcome}.
     *
     * @param listener called on the thread of events
     */
    public void onWelcome(Consumer<Welcome> listener) {
        engine.events.welcome.add(listener);
    }

    /**
     * Tells that everything stored before has been sent.
     *
     * @param listener called on the thread of events with the group, or null for the own mailbox
     */
    public void onReplayed(Consumer<String> listener) {
        engine.events.replayed.add(listener);
    }

    /**
     * Tells that messages are missing.
     *
     * @param listener called on the thread of events
     */
    public void onGap(Consumer<Gap> listener) {
        engine.events.gap.add(listener);
    }

    /**
     * Tells what became of messages that asked for receipts.
     *
     * @param listener called on the thread of events
     */
    public void onReceipt(Consumer<Receipt> listener) {
        engine.events.receipt.add(listener);
    }

    /**
     * Tells that a sender takes back a mail. The server's word about a mail of one's own, that an earlier process recalled, comes
     * here too, {@code from} its recipient: the two words are alike on the wire.
     *
     * @param listener called on the thread of events
     */
    public void onRecalled(Consumer<Recalled> listener) {
        engine.events.recalled.add(listener);
    }

    /**
     * Tells signals.
     *
     * @param listener called on the thread of events
     */
    public void onSignal(Consumer<Message> listener) {
        engine.events.signal.add(listener);
    }

    /**
     * Tells that a message is handled and remembered: from here on no crash brings it to a handler again.
     *
     * @param listener called on the thread of events
     */
    public void onHandled(Consumer<Message> listener) {
        engine.events.handled.add(listener);
    }

    /**
     * Tells acknowledgements that the server has taken.
     *
     * @param listener called on the thread of events
     */
    public void onAcknowledged(Consumer<Acknowledged> listener) {
        engine.events.acknowledged.add(listener);
    }

    /**
     * Tells errors that no call fails with: of handlers, of the storage, of a token that could not be renewed. Without a
     * listener the log {@code postoffice.client} has them.
     *
     * @param listener called on the thread of events
     */
    public void onError(Consumer<PostOfficeException> listener) {
        engine.events.error.add(listener);
    }

    /** What a client is made of; every value but the URL has a default. */
    public static final class Builder {
        /** One for all clients that have no HttpClient of their own: each has a thread. */
        private static final class Shared {
            static final HttpClient HTTP = HttpClient.newHttpClient();
        }

        private final Options options = new Options();
        private SSLContext tls;

        private Builder(URI url) {
            options.url = url;
        }

        /**
         * A token that never changes. When the server does not take it any more, the client is closed.
         *
         * @param token the token
         * @return this builder
         */
        public Builder token(String token) {
            options.tokens = () -> CompletableFuture.completedFuture(token);
            options.tokensAreOne = true;
            return this;
        }

        /**
         * Where tokens come from. Asked before a connection whose token is unknown or close to its end, before the end of the
         * running one, and when the server refuses one. An {@link IOException} is asked again later; any other failure, and a
         * token that was refused before, close the client.
         *
         * @param source called on a worker; may wait
         * @return this builder
         */
        public Builder tokens(Callable<String> source) {
            return tokensAsync(() -> {
                try {
                    return CompletableFuture.completedFuture(source.call());
                } catch (Exception e) {
                    return CompletableFuture.failedFuture(e);
                }
            });
        }

        /**
         * Like {@link #tokens}, without waiting.
         *
         * @param source called on a worker
         * @return this builder
         */
        public Builder tokensAsync(Supplier<CompletionStage<String>> source) {
            options.tokens = source;
            options.tokensAreOne = false;
            return this;
        }

        /**
         * The address to speak for; by default the token's.
         *
         * @param address an address that the token covers
         * @return this builder
         */
        public Builder address(String address) {
            options.address = address;
            return this;
        }

        /**
         * The name of this client among those of its address: two with one name turn each other out. By default a random name
         * that is kept in the storage.
         *
         * @param device at most 64 bytes; may be empty
         * @return this builder
         */
        public Builder device(String device) {
            options.device = device;
            return this;
        }

        /**
         * Where the first session reads from, in place of where this device has acknowledged.
         *
         * @param since {@code now}, or a place
         * @return this builder
         */
        public Builder since(String since) {
            options.since = since;
            return this;
        }

        /**
         * Where the first session reads from, with the epoch in which that place was seen.
         *
         * @param since a place
         * @param epoch an epoch
         * @return this builder
         */
        public Builder since(String since, String epoch) {
            options.since = since;
            options.epoch = epoch;
            return this;
        }

        /**
         * Where the client keeps its device, its outbox and the ids that it has handled. The client closes the storage.
         *
         * @param storage a storage of this client's own; {@link MemoryStorage} by default
         * @return this builder
         */
        public Builder storage(Storage storage) {
            options.storage = storage;
            return this;
        }

        /**
         * Whom to trust over TLS; by default those whom the JVM trusts.
         *
         * @param tls a context
         * @return this builder
         */
        public Builder sslContext(SSLContext tls) {
            this.tls = tls;
            return this;
        }

        /**
         * The HTTP client below, for a proxy say; then {@link #sslContext} has no effect.
         *
         * @param http a client
         * @return this builder
         */
        public Builder httpClient(HttpClient http) {
            options.http = http;
            return this;
        }

        /**
         * Where handlers, listeners and token sources run; by default on threads of the client's own.
         *
         * @param executor takes as many tasks at a time as there are handlers, and two more
         * @return this builder
         */
        public Builder executor(Executor executor) {
            options.executor = executor;
            return this;
        }

        /**
         * Whether a message whose handler failed is acknowledged all the same. By default it is not: no more messages are given
         * out, and after a wait the client connects anew, so that the message comes again.
         *
         * @param skip true to go on with the next message
         * @return this builder
         */
        public Builder skipFailed(boolean skip) {
            options.skipFailed = skip;
            return this;
        }

        /**
         * Whether messages to one recipient go one at a time, so that nothing overtakes when one is rejected and repeated. By
         * default they do; without that, up to {@link #sendWindow} go side by side, and a repeated one may arrive late.
         *
         * @param ordered false for speed on long lines
         * @return this builder
         */
        public Builder ordered(boolean ordered) {
            options.ordered = ordered;
            return this;
        }

        /**
         * Acknowledges at the latest after so many handled messages.
         *
         * @param count 16 by default
         * @return this builder
         */
        public Builder ackBatch(int count) {
            options.ackBatch = positive(count);
            return this;
        }

        /**
         * Acknowledges at the latest after this time.
         *
         * @param delay 200 ms by default
         * @return this builder
         */
        public Builder ackDelay(Duration delay) {
            options.ackDelayMs = delay.toMillis();
            return this;
        }

        /**
         * Stops reading when so many messages wait for their handler.
         *
         * @param count 1,000 by default
         * @return this builder
         */
        public Builder maxWaiting(int count) {
            options.maxWaiting = positive(count);
            return this;
        }

        /**
         * Remembers so many handled messages, so that none is handled twice.
         *
         * @param count 2,000 by default
         * @return this builder
         */
        public Builder rememberIds(int count) {
            options.rememberIds = positive(count);
            return this;
        }

        /**
         * Pings the server after a silence, and drops the connection when nothing comes back in time.
         *
         * @param silence 15 s by default
         * @param timeout 10 s by default
         * @return this builder
         */
        public Builder heartbeat(Duration silence, Duration timeout) {
            options.heartbeatMs = Math.max(1, silence.toMillis());
            options.heartbeatTimeoutMs = Math.max(1, timeout.toMillis());
            return this;
        }

        /**
         * Bounds what waits for an answer; past that, sending fails at once.
         *
         * @param messages 10,000 by default
         * @param bytes 16 MiB by default
         * @return this builder
         */
        public Builder outbox(int messages, long bytes) {
            options.outboxMessages = positive(messages);
            options.outboxBytes = bytes;
            return this;
        }

        /**
         * Sends at most so many messages before the first of them is answered.
         *
         * @param count 32 by default
         * @return this builder
         */
        public Builder sendWindow(int count) {
            options.sendWindow = positive(count);
            return this;
        }

        /**
         * Waits a random time before an attempt to connect: at most the first bound, then twice as much each time, up to the
         * second; and never less than the server asks for.
         *
         * @param first 1 s by default
         * @param most 60 s by default
         * @return this builder
         */
        public Builder backoff(Duration first, Duration most) {
            options.minBackoffMs = Math.max(1, first.toMillis());
            options.maxBackoffMs = Math.max(1, most.toMillis());
            return this;
        }

        private static int positive(int count) {
            if (count < 1) {
                throw new IllegalArgumentException(count + " is less than 1");
            }
            return count;
        }

        /**
         * Makes the client; {@link PostOffice#connect} connects it.
         *
         * @return a client
         * @throws UncheckedIOException when the storage cannot be read
         */
        public PostOffice build() {
            Options made = options.copy();
            if (made.storage == null) {
                made.storage = new MemoryStorage();
            }
            if (made.http == null) {
                made.http = tls == null ? Shared.HTTP : HttpClient.newBuilder().sslContext(tls).build();
            }
            try {
                return new PostOffice(new Engine(made));
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }
}
