package postoffice.client;

import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * The life of a client: connects, stays connected, and hands what comes to whoever it concerns. Lives on the loop, but for
 * {@link #send} and what is volatile.
 */
final class Engine implements Link.Owner {
    private static final long CLOSE_MS = 2000; // for the server's answers and its close frame
    private static final long SETTLE_MS = 5000; // for handlers that run when a client ends or starts over
    private static final System.Logger LOG = System.getLogger("postoffice.client");

    final Options options;
    final Loop loop = new Loop();
    final Commands commands = new Commands(this);
    final Outbox outbox = new Outbox(this);
    final Acks acks = new Acks(this);
    final Inbox inbox = new Inbox(this);
    final Subscriptions subscriptions = new Subscriptions(this);
    final Requests requests = new Requests(this);
    final Events events;
    final Keeper keeper;
    final List<Sending> left; // messages of an earlier process

    private final ExecutorService ownWorkers;
    private final Executor workers;
    private final Tokens tokens;
    private final Renewal renewal;
    private final Heartbeat heartbeat;
    private final Backoff backoff;
    private final Position position;
    private final CompletableFuture<Welcome> connected = new CompletableFuture<>();
    private final CompletableFuture<Void> ended = new CompletableFuture<>();
    private final ThreadLocal<Boolean> isWorker = ThreadLocal.withInitial(() -> false);

    private volatile State state = State.IDLE;
    private volatile String address;
    private volatile Welcome welcome;
    private volatile long messageBytesMax;
    private volatile ClosedException closed;
    private volatile Link link;
    private String dialToken;
    private String dialSince;
    private int dial; // counts the attempts: what belongs to an earlier one is of no interest
    private int attempts; // since the last session that stood
    private int refusedTokens;
    private boolean paused;
    private boolean welcomedOnce;
    private boolean closing;
    private long goodbyeRetryMs;
    private long startOverMs = -1; // the wait before the next attempt, when this client itself ends the connection
    private Runnable atIdle; // what waits for the last handler
    private Future<?> next; // attempt

    Engine(Options options) throws IOException {
        this.options = options;
        AtomicInteger number = new AtomicInteger();
        ownWorkers = options.executor != null ? null : Executors.newCachedThreadPool(task -> {
            Thread thread = new Thread(task, "postoffice-worker-" + number.incrementAndGet());
            thread.setDaemon(true);
            return thread;
        });
        Executor below = options.executor != null ? options.executor : ownWorkers;
        workers = task -> offer(below, task);
        events = new Events(workers);
        keeper = new Keeper(options, events);
        position = new Position(this, keeper.stored);
        tokens = new Tokens(options, loop, workers);
        renewal = new Renewal(this, tokens);
        heartbeat = new Heartbeat(this);
        backoff = new Backoff(options.minBackoffMs, options.maxBackoffMs);
        address = options.address;
        if (options.device == null) {
            options.device = keeper.device();
        }
        left = outbox.load(keeper.stored);
    }

    private static void offer(Executor below, Runnable task) {
        try {
            below.execute(task);
        } catch (RejectedExecutionException e) { // the client is closed: whoever asks now is answered at once
            task.run();
        }
    }

    // What others ask, on any thread.

    State state() {
        return state;
    }

    String address() {
        return address;
    }

    Welcome welcome() {
        return welcome;
    }

    boolean isOpen() {
        return state == State.OPEN;
    }

    boolean isClosed() {
        return state == State.CLOSED;
    }

    /** The largest message that the server takes; 0 while this is not known. */
    long messageBytesMax() {
        return messageBytesMax;
    }

    boolean isWorker() {
        return isWorker.get();
    }

    Sending send(Letter letter, int type) {
        Map<String, Object> envelope = letter.envelope(type, UUID.randomUUID().toString());
        Sending sending = new Sending((String) envelope.get("id"));
        loop.execute(() -> {
            if (isClosed()) {
                fail(sending, closed());
            } else {
                outbox.add(sending, envelope);
            }
        });
        return sending;
    }

    /** Hands a signal to the socket; false when there is none, or much waits for it. */
    boolean signal(Letter letter) {
        Link to = link;
        if (!isOpen() || to == null || to.waitingChars() > options.outboxBytes) {
            return false;
        }
        Map<String, Object> message = new LinkedHashMap<>();
        message.put("from", address);
        message.putAll(letter.envelope(Message.SIGNAL, UUID.randomUUID().toString()));
        String text = Json.write(message);
        loop.execute(() -> transmit(text));
        return true;
    }

    CompletableFuture<Welcome> connect() {
        loop.execute(() -> {
            if (state == State.IDLE) {
                dial();
            }
        });
        return connected;
    }

    /** Ends the wait before the next attempt. */
    void hurry() {
        loop.execute(() -> {
            attempts = 0;
            if (state == State.WAITING) {
                dial();
            }
        });
    }

    CompletableFuture<Void> close() {
        loop.execute(this::beginClose);
        return ended;
    }

    // Settling what the application waits for: never on the loop, because the application's code may follow.

    <T> void settle(CompletableFuture<T> future, T value) {
        work(() -> future.complete(value));
    }

    void fail(CompletableFuture<?> future, Throwable why) {
        work(() -> future.completeExceptionally(why));
    }

    /** The same future, for the application. */
    <T> CompletableFuture<T> hand(CompletableFuture<T> inner) {
        CompletableFuture<T> outer = new CompletableFuture<>();
        inner.whenComplete((value, failure) -> {
            if (failure == null) {
                settle(outer, value);
            } else {
                fail(outer, failure instanceof java.util.concurrent.CompletionException ? failure.getCause() : failure);
            }
        });
        return outer;
    }

    void work(Runnable task) {
        workers.execute(() -> {
            isWorker.set(true);
            try {
                task.run();
            } finally {
                isWorker.remove();
            }
        });
    }

    // Connecting.

    private void dial() {
        int now = ++dial;
        Loop.cancel(next);
        change(State.CONNECTING, 0, "", null);
        attempts++;
        tokens.toConnect().whenComplete((token, failure) -> {
            if (now != dial || state != State.CONNECTING) {
                return;
            }
            if (failure == null) {
                open(token);
            } else if (Tokens.isPassing(failure)) {
                events.error(new PostOfficeException("token", "no token: " + failure, failure));
                waitFor(backoff.delayMs(attempts, 0), 0, "no token");
            } else {
                end(new ClosedException(Codes.TOKEN_REFUSED, "no token: " + failure.getMessage()));
            }
        });
    }

    private void open(String token) {
        dialToken = token;
        goodbyeRetryMs = 0;
        startOverMs = -1;
        paused = false;
        Map<String, String> headers = new HashMap<>();
        if (token != null) {
            headers.put("Authorization", "Bearer " + token);
        }
        link = new Link(loop, this);
        try {
            Target target = Target.of(options, position, !welcomedOnce);
            dialSince = target.since;
            link.open(options.http, target.url, headers, Duration.ofMillis(options.heartbeatMs + options.heartbeatTimeoutMs));
        } catch (IllegalArgumentException e) { // the exception's own words may hold the token
            link = null;
            end(new ClosedException(Codes.REQUEST_REFUSED, "the URL or the token cannot be written into a request"));
        }
    }

    @Override
    public void linkOpened(Link opened) {
        if (opened != link) {
            opened.fail("late");
            return;
        }
        heartbeat.begin(opened);
    }

    @Override
    public void linkPonged(Link from) {
        if (from == link) {
            heartbeat.heard();
        }
    }

    // What the server says.

    @Override
    public void linkSaid(Link from, String text) {
        if (from != link) {
            return;
        }
        heartbeat.heard();
        try {
            Message message = new Message(this, Message.map(Json.parse(text)), address);
            if (message.from().equals("postmaster") && message.type() == Message.CONTROL) {
                obey(message);
            } else {
                arrived(message);
            }
        } catch (IllegalArgumentException e) {
            events.error(new PostOfficeException("protocol", "the server said what this client cannot read: " + e.getMessage(), e));
        }
        paused = true;
        readOn();
    }

    private void arrived(Message message) {
        if (message.type() == Message.SIGNAL) {
            inbox.signalled(message);
            return;
        }
        boolean own = message.group() == null;
        inbox.arrived(message, message.seq() != null && (own || subscriptions.has(message.group())));
    }

    boolean isPaused() {
        return paused;
    }

    /** The next message is asked for, unless many wait for the application already and nobody waits for the server. */
    void readOn() {
        if (paused && link != null && (!inbox.isFull() || mustRead())) {
            paused = false;
            link.more();
        }
    }

    private boolean mustRead() {
        return closing || startOverMs >= 0 || !inbox.isConsumed() || outbox.isAwaiting() || commands.isAwaiting() || requests.isAwaiting();
    }

    private void obey(Message word) {
        switch (word.subject()) {
            case "welcome":
                welcome(word);
                break;
            case "replayed":
                replayed(word);
                break;
            case "accepted":
                outbox.accepted(word);
                break;
            case "rejected":
                if (!outbox.rejected(word) && !commands.rejected(word)) {
                    events.error(rejection(word));
                }
                break;
            case "result":
                commands.answered(word);
                break;
            case "goodbye":
                goodbyeRetryMs = word.number("retryAfter", 0);
                break;
            default: // a later version of the protocol
                break;
        }
    }

    static RejectedException rejection(Message word) {
        return new RejectedException(word.text("code", "internal"), word.text("message", ""), word.text("field", null),
                word.inReplyTo(), Message.refusals(word.fields().get("refused")));
    }

    private void welcome(Message word) {
        Welcome said = new Welcome(word.fields());
        boolean again = state == State.OPEN;
        if (again && welcome.epoch().isEmpty() && dialSince != null && !dialSince.equals(said.cursor()) && !said.service()) {
            inbox.stop();
            startOver(0); // a server that could not look into the mailbox has not remembered from where this client wanted to read
            return;
        }
        if (!position.isOf(said.address())) {
            end(new ClosedException(Codes.REQUEST_REFUSED, "the storage is that of " + position.address()));
            return;
        }
        boolean changed = position.welcome(said, again);
        welcome = said;
        address = said.address();
        messageBytesMax = said.messageBytes();
        if (!again) {
            stand();
        }
        events.welcome.tell(said);
        if (!said.recovered()) {
            events.gap.tell(new Gap(null, changed));
        }
    }

    /** A session has begun. */
    private void stand() {
        renewal.begin(dialToken);
        refusedTokens = 0;
        welcomedOnce = true;
        change(State.OPEN, 0, "", null);
        settle(connected, welcome);
        inbox.linkOpened();
        subscriptions.linkOpened();
        commands.pump();
        outbox.pump();
    }

    private void replayed(Message word) {
        List<String> groups = word.tags();
        if (Boolean.FALSE.equals(word.fields().get("recovered"))) {
            groups.forEach(group -> subscriptions.gap(group, position.epoch()));
        }
        if (groups.isEmpty()) {
            attempts = 0;
        }
        events.replayed.tell(groups.isEmpty() ? null : groups.get(0));
    }

    void tellSignal(Message signal, Runnable then) {
        events.signal.tell(signal, () -> loop.execute(then));
    }

    /** A receipt about a message of this client's, or its sender's word that a mail is taken back. */
    void tellReceipt(Message message, Runnable then) {
        int what = (int) message.number("state", 0);
        Sending sending = outbox.receiptOf(message.inReplyTo());
        Runnable after = () -> loop.execute(then);
        if (what == 4 && sending == null) {
            events.recalled.tell(new Recalled(message.from(), message.inReplyTo()), after);
            return;
        }
        Receipt receipt = new Receipt(message.inReplyTo(), message.from(), what);
        events.receipt.tell(receipt, () -> {
            if (sending != null) {
                sending.told(receipt);
            }
            after.run();
        });
    }

    boolean answersRequest(Message message) {
        return requests.answered(message);
    }

    // What leaves.

    void transmit(String text) {
        if (isOpen() && link != null) {
            link.send(text);
            readOn();
        }
    }

    CompletableFuture<Map<String, Object>> ack(String log, String seq) {
        Map<String, Object> fields = new HashMap<>();
        fields.put("references", seq);
        if (log != null) {
            fields.put("tags", List.of(log));
        }
        return commands.runNow("ack", fields);
    }

    void acknowledged(Acknowledged ack) {
        if (ack.log() == null) {
            position.acknowledged(ack);
        } else {
            subscriptions.acknowledged(ack);
        }
        events.acknowledged.tell(ack);
    }

    // The end of a connection.

    @Override
    public void linkEnded(Link from, Link.End end) {
        if (from != link) {
            return;
        }
        link = null;
        dial++;
        heartbeat.end();
        renewal.end();
        boolean stood = state == State.OPEN;
        if (stood) {
            state = State.CONNECTING; // nobody sends from here on
        }
        if (end.code == Codes.TOO_LARGE) {
            outbox.tooLarge();
        }
        outbox.linkLost();
        commands.linkLost();
        acks.linkLost();
        inbox.linkLost(position.isService());
        if (closing) {
            end(new ClosedException(Codes.NORMAL, ""));
        } else if (startOverMs >= 0 && Codes.after(end.code) == Codes.Step.RECONNECT) {
            waitFor(startOverMs, 0, "starts over");
        } else {
            decide(end);
        }
    }

    private void decide(Link.End end) {
        switch (Codes.after(end.code)) {
            case END:
                end(new ClosedException(end.code, end.reason));
                break;
            case NEW_TOKEN:
                newToken(end);
                break;
            default:
                waitFor(backoff.delayMs(Math.max(0, attempts - 1), Math.max(goodbyeRetryMs, end.retryAfterMs)), end.code, end.reason);
                break;
        }
    }

    private void newToken(Link.End end) {
        if (options.tokens == null || options.tokensAreOne) {
            end(new ClosedException(end.code, end.reason));
            return;
        }
        tokens.use(null, 0);
        if (end.code == Codes.TOKEN_REFUSED) {
            tokens.refuse(dialToken);
        }
        // The first new token is tried at once; when that is refused too, something else is wrong.
        waitFor(refusedTokens++ == 0 ? 0 : backoff.delayMs(refusedTokens, 0), end.code, end.reason);
    }

    private void waitFor(long delayMs, int code, String reason) {
        change(State.WAITING, code, reason, Instant.now().plusMillis(delayMs));
        Loop.cancel(next);
        next = loop.after(delayMs, () -> {
            if (state == State.WAITING) {
                dial();
            }
        });
    }

    /** Ends the connection, because messages have to come again; the next one begins after a wait. */
    void startOverAfter(int failures) {
        startOver(backoff.delayMs(failures, 0));
    }

    void startOver(long delayMs) {
        if (link == null || startOverMs >= 0 || closing) {
            return;
        }
        startOverMs = delayMs;
        readOn();
        whenIdle(Math.max(startOverMs, options.minBackoffMs), () -> {
            acks.flush();
            leave();
        });
    }

    /** Runs a task when no handler runs, or after some time; not at all when the connection ends before. */
    private void whenIdle(long mostMs, Runnable task) {
        Link of = link;
        atIdle = () -> {
            atIdle = null;
            if (of == link) {
                task.run();
            }
        };
        Runnable planned = atIdle;
        loop.after(mostMs, () -> {
            if (atIdle == planned) {
                planned.run();
            }
        });
        handlerEnded();
    }

    void handlerEnded() {
        if (atIdle != null && inbox.isIdle()) {
            atIdle.run();
        }
        closeIfDone();
    }

    private void leave() {
        Link of = link;
        if (of != null) {
            of.close();
            loop.after(CLOSE_MS, () -> {
                if (of == link) {
                    of.fail("the server did not close");
                }
            });
        }
    }

    // The end of the client.

    private void beginClose() {
        if (closing || isClosed()) {
            return;
        }
        closing = true;
        inbox.stop();
        readOn();
        if (link == null || !isOpen()) {
            if (link != null) {
                link.fail("closed");
            } else {
                end(new ClosedException(Codes.NORMAL, ""));
            }
            return;
        }
        whenIdle(SETTLE_MS, () -> {
            acks.flush();
            loop.after(CLOSE_MS, this::leave);
            closeIfDone();
        });
    }

    /** When the last acknowledgement is answered, a client that closes has nothing to wait for. */
    void closeIfDone() {
        if (closing && atIdle == null && link != null && inbox.isIdle() && acks.isSettled()) {
            leave();
        }
    }

    private void end(ClosedException why) {
        Link last = link;
        link = null;
        dial++;
        closed = why;
        heartbeat.end();
        renewal.end();
        Loop.cancel(next);
        change(State.CLOSED, why.closeCode(), why.reason(), null);
        if (last != null) {
            last.fail("closed");
        }
        outbox.end();
        commands.end();
        requests.end();
        inbox.end();
        fail(connected, closed());
        keeper.close();
        work(() -> ended.complete(null));
        if (ownWorkers != null) {
            ownWorkers.shutdown();
        }
        loop.stop();
    }

    /** Why the client is closed: a new exception for each call that fails. */
    ClosedException closed() {
        return closed == null ? new ClosedException(Codes.NORMAL, "") : new ClosedException(closed.closeCode(), closed.reason());
    }

    private void change(State to, int code, String reason, Instant until) {
        state = to;
        events.state.tell(new StateChange(to, code, reason, until));
    }

    Stats stats() {
        return new Stats(state, outbox.count(), inbox.waiting(), inbox.handled(), position.acknowledged(), attempts);
    }
}
