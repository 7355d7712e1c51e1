import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.http.HttpClient;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import postoffice.client.Accepted;
import postoffice.client.Attachment;
import postoffice.client.ClosedException;
import postoffice.client.FileStorage;
import postoffice.client.Handler;
import postoffice.client.HistoryQuery;
import postoffice.client.Json;
import postoffice.client.Letter;
import postoffice.client.Message;
import postoffice.client.PostOffice;
import postoffice.client.PostOfficeException;
import postoffice.client.Recall;
import postoffice.client.Refusal;
import postoffice.client.RejectedException;
import postoffice.client.Stats;
import postoffice.client.Subscription;
import postoffice.client.Welcome;

/**
 * The Java client behind the table of behaviours (tests/clients): lines of JSON in and out, any number of clients by name. Uses
 * what the library offers to everybody, and nothing else.
 */
public final class Driver {
    private static final PrintStream OUT = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false,
            StandardCharsets.UTF_8);
    private static final ExecutorService POOL = Executors.newCachedThreadPool();
    private static final Map<String, HttpClient> TRUSTING = new ConcurrentHashMap<>(); // by file of certificates
    private static final Map<String, Client> CLIENTS = new ConcurrentHashMap<>();

    private Driver() {
    }

    private static final class Client {
        final String name;
        final Semaphore released = new Semaphore(0);
        final Map<String, Message> seen = new ConcurrentHashMap<>();
        PostOffice office;

        Client(String name) {
            this.name = name;
        }

        void tell(String event, Object data) {
            Map<String, Object> line = new LinkedHashMap<>();
            line.put("event", event);
            line.put("client", name);
            line.put("data", data);
            say(line);
        }

        Object came(Message message) {
            seen.put(message.id(), message);
            tell("message", plain(message));
            return null;
        }
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Map<String, Object> request = map(Json.parse(line));
            Object n = request.get("n");
            try {
                CompletableFuture<?> done = perform(request);
                done.whenComplete((value, failure) -> answer(n, value, failure));
            } catch (Exception e) {
                answer(n, null, e);
            }
        }
        List<CompletableFuture<Void>> ends = new ArrayList<>();
        CLIENTS.values().forEach(client -> ends.add(client.office.closeAsync()));
        CompletableFuture.allOf(ends.toArray(new CompletableFuture<?>[0])).join();
        System.exit(0);
    }

    private static synchronized void say(Map<String, Object> line) {
        OUT.print(Json.write(line) + "\n");
        OUT.flush();
    }

    private static void answer(Object n, Object value, Throwable failure) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("n", n);
        if (failure == null) {
            line.put("ok", value == null ? Map.of() : value);
        } else {
            line.put("error", error(failure instanceof CompletionException ? failure.getCause() : failure));
        }
        say(line);
    }

    private static Map<String, Object> error(Throwable failure) {
        Map<String, Object> error = new LinkedHashMap<>();
        String name = "Error";
        Object code = null;
        if (failure instanceof RejectedException) {
            RejectedException rejected = (RejectedException) failure;
            name = "RejectedError";
            code = rejected.code();
            error.put("id", rejected.id());
            error.put("field", rejected.field());
            error.put("refused", refusals(rejected.refused()));
        } else if (failure instanceof ClosedException) {
            name = "ClosedError";
            code = ((ClosedException) failure).closeCode();
        } else if (failure instanceof TimeoutException) {
            name = "TimeoutError";
        } else if (failure instanceof PostOfficeException) {
            code = ((PostOfficeException) failure).code();
        } else {
            failure.printStackTrace();
        }
        error.put("name", name);
        error.put("code", code);
        error.put("message", String.valueOf(failure.getMessage()));
        return error;
    }

    // Requests.

    private static CompletableFuture<?> perform(Map<String, Object> request) throws Exception {
        String name = (String) request.get("client");
        String what = (String) request.get("do");
        if (what.equals("open")) {
            Client client = new Client(name);
            open(client, map(request.get("options")), (String) request.getOrDefault("handle", "auto"));
            CLIENTS.put(name, client);
            return done(null);
        }
        Client client = CLIENTS.get(name);
        PostOffice office = client.office;
        switch (what) {
            case "connect":
                return office.connectAsync().thenApply(Driver::plain);
            case "release":
                client.released.release(number(request, "count", 1));
                return done(null);
            case "send":
                return office.sendAsync(letter(request)).thenApply(Driver::plain);
            case "post":
                return office.postAsync(letter(request)).thenApply(Driver::plain);
            case "signal":
                return done(Map.of("sent", office.signal(letter(request))));
            case "reply":
                return client.seen.get((String) request.get("id")).replyAsync(letter(request)).thenApply(Driver::plain);
            case "read":
                return client.seen.get((String) request.get("id")).readAsync().thenApply(Driver::plain);
            case "request":
                return office.requestAsync(letter(request), Duration.ofMillis(number(request, "timeout", 10_000))).thenApply(Driver::plain);
            case "close":
                return office.closeAsync();
            case "stats":
                return done(plain(office.stats()));
            case "serve":
                office.serve(number(request, "concurrency", 1), message -> serve(client, (String) request.get("mode"), message));
                return done(null);
            default:
                return command(office, what, request);
        }
    }

    private static CompletableFuture<?> command(PostOffice office, String what, Map<String, Object> request) {
        switch (what) {
            case "recall":
                return office.recallAsync((String) request.get("id")).thenApply(Driver::plain);
            case "presence":
                return office.presenceAsync(texts(request.get("addresses"))).thenApply(online -> Map.of("online", online));
            case "subscribe":
                return office.subscribeAsync(List.of(texts(request.get("groups"))), (String) request.get("since"),
                        (String) request.get("epoch")).thenApply(Driver::plain);
            case "unsubscribe":
                return office.unsubscribeAsync(texts(request.get("groups")));
            case "history":
                return CompletableFuture.supplyAsync(() -> history(office, request), POOL);
            default:
                throw new IllegalArgumentException("unknown: " + what);
        }
    }

    private static CompletableFuture<Object> done(Object value) {
        return CompletableFuture.completedFuture(value);
    }

    private static Object history(PostOffice office, Map<String, Object> request) {
        HistoryQuery query = new HistoryQuery();
        if (request.get("group") != null) {
            query.group((String) request.get("group"));
        }
        if (request.get("subjectId") != null) {
            query.thread((String) request.get("subjectId"));
        }
        if (request.get("before") != null) {
            query.before((String) request.get("before"));
        }
        if (request.get("limit") != null) {
            query.limit(number(request, "limit", 0));
        }
        int most = number(request, "max", Integer.MAX_VALUE);
        List<Object> found = new ArrayList<>();
        for (Message message : office.history(query)) {
            if (found.size() == most) {
                break;
            }
            found.add(plain(message));
        }
        return Map.of("messages", found);
    }

    // Clients.

    private static void open(Client client, Map<String, Object> options, String handle) throws Exception {
        PostOffice.Builder builder = PostOffice.builder((String) options.get("url"));
        if (options.get("address") != null) {
            builder.address((String) options.get("address"));
        }
        if (options.get("device") != null) {
            builder.device((String) options.get("device"));
        }
        if (options.get("since") != null) {
            builder.since((String) options.get("since"));
        }
        if (options.get("tokens") != null) {
            List<?> tokens = (List<?>) options.get("tokens");
            AtomicInteger asked = new AtomicInteger();
            builder.tokens(() -> {
                int n = asked.incrementAndGet();
                client.tell("token", Map.of("n", n));
                return (String) tokens.get(Math.min(n, tokens.size()) - 1);
            });
        }
        String storage = (String) options.getOrDefault("storage", "memory");
        if (!storage.equals("memory")) {
            builder.storage(new FileStorage(Path.of(storage)));
        }
        if (options.get("caFile") != null) {
            String file = (String) options.get("caFile");
            HttpClient http = TRUSTING.get(file);
            if (http == null) {
                http = HttpClient.newBuilder().sslContext(trusting(file)).build();
                TRUSTING.put(file, http);
            }
            builder.httpClient(http);
        }
        bounds(builder, options);
        client.office = builder.build();
        listen(client);
        handle(client, handle);
    }

    private static void bounds(PostOffice.Builder builder, Map<String, Object> options) {
        builder.ackBatch(number(options, "ackBatch", 16));
        builder.ackDelay(Duration.ofMillis(number(options, "ackDelay", 200)));
        builder.heartbeat(seconds(options, "heartbeat", 15), seconds(options, "heartbeatTimeout", 10));
        builder.backoff(Duration.ofMillis(number(options, "minBackoff", 1000)), Duration.ofMillis(number(options, "maxBackoff", 60_000)));
        builder.maxWaiting(number(options, "maxWaiting", 1000));
        builder.rememberIds(number(options, "rememberIds", 2000));
        builder.sendWindow(number(options, "sendWindow", 32));
        builder.outbox(number(options, "outboxMessages", 10_000), number(options, "outboxBytes", 16 << 20));
        builder.skipFailed("skip".equals(options.get("onHandlerError")));
    }

    private static SSLContext trusting(String file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream in = new FileInputStream(file)) {
            for (Certificate each : CertificateFactory.getInstance("X.509").generateCertificates(in)) {
                store.setCertificateEntry("ca" + store.size(), each);
            }
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }

    private static void listen(Client client) {
        PostOffice office = client.office;
        office.onState(change -> {
            Map<String, Object> data = new LinkedHashMap<>();
            data.put("state", change.state().name().toLowerCase(java.util.Locale.ROOT));
            data.put("code", change.code());
            data.put("reason", change.reason());
            client.tell("state", data);
        });
        office.onWelcome(welcome -> client.tell("welcome", plain(welcome)));
        office.onReplayed(group -> client.tell("replayed", group == null ? Map.of() : Map.of("tags", List.of(group))));
        office.onGap(gap -> {
            Map<String, Object> data = new LinkedHashMap<>();
            data.put("log", gap.log());
            data.put("epochChanged", gap.epochChanged());
            client.tell("gap", data);
        });
        office.onReceipt(receipt -> client.tell("receipt", Map.of("id", receipt.id(), "from", receipt.from(), "state", receipt.state())));
        office.onRecalled(recalled -> client.tell("recalled", Map.of("from", recalled.from(), "id", recalled.id())));
        office.onSignal(signal -> client.tell("signal", plain(signal)));
        office.onHandled(message -> client.tell("handled", Map.of("id", message.id())));
        office.onAcknowledged(ack -> {
            Map<String, Object> data = new LinkedHashMap<>();
            data.put("log", ack.log());
            data.put("seq", ack.seq());
            client.tell("acked", data);
        });
        office.onError(error -> client.tell("error", Map.of("name", error.code(), "message", String.valueOf(error.getMessage()))));
    }

    private static void handle(Client client, String how) {
        PostOffice office = client.office;
        if (how.equals("iterate")) {
            Iterable<Message> messages = office.messages();
            POOL.execute(() -> {
                for (Message message : messages) {
                    client.came(message);
                }
            });
        } else if (!how.equals("none")) {
            AtomicInteger failures = new AtomicInteger(how.startsWith("fail:") ? Integer.parseInt(how.substring(5)) : 0);
            Handler handler = message -> {
                client.came(message);
                if (failures.getAndDecrement() > 0) {
                    throw new IllegalStateException("this handler fails on purpose");
                }
                if (how.equals("hold")) {
                    client.released.acquire();
                }
            };
            office.onMessage(handler);
        }
    }

    private static Object serve(Client client, String mode, Message message) throws InterruptedException {
        client.came(message);
        if (mode.equals("hold")) {
            client.released.acquire();
        }
        String text = message.text();
        return mode.equals("upper") ? text.toUpperCase(java.util.Locale.ROOT) : text;
    }

    private static Letter letter(Map<String, Object> request) {
        Map<String, Object> message = map(request.get("message"));
        Letter letter = new Letter();
        message.forEach((name, value) -> {
            switch (name) {
                case "to":
                    letter.to(List.of(texts(value)));
                    break;
                case "text":
                case "json":
                case "bytes":
                case "files":
                    break;
                default:
                    letter.set(name, value);
            }
        });
        if (message.containsKey("text")) {
            letter.text((String) message.get("text"));
        }
        if (message.containsKey("json")) {
            letter.json(message.get("json"));
        }
        if (message.containsKey("bytes")) {
            letter.bytes(Base64.getDecoder().decode((String) message.get("bytes")));
        }
        if (message.get("files") != null) {
            for (Object each : (List<?>) message.get("files")) {
                Map<String, Object> file = map(each);
                letter.attach(new Attachment((String) file.get("name"), (String) file.get("type"),
                        Base64.getDecoder().decode((String) file.get("bytes"))));
            }
        }
        return letter;
    }

    // Answers.

    private static Object plain(Welcome welcome) {
        Map<String, Object> plain = new LinkedHashMap<>();
        plain.put("session", welcome.session());
        plain.put("address", welcome.address());
        plain.put("device", welcome.device());
        plain.put("seq", welcome.seq());
        plain.put("cursor", welcome.cursor());
        plain.put("recovered", welcome.recovered());
        plain.put("epoch", welcome.epoch());
        plain.put("service", welcome.service());
        return plain;
    }

    private static Object plain(Accepted accepted) {
        return Map.of("id", accepted.id(), "state", accepted.state(), "refused", refusals(accepted.refused()));
    }

    private static Object plain(Recall recall) {
        return Map.of("recalled", recall.recalled(), "notRecalled", refusals(recall.notRecalled()));
    }

    private static Object plain(Map<String, Subscription> groups) {
        Map<String, Object> plain = new LinkedHashMap<>();
        groups.forEach((name, place) -> plain.put(name, Map.of("seq", place.seq(), "cursor", place.cursor(), "recovered", place.recovered())));
        return Map.of("groups", plain);
    }

    private static Object plain(Stats stats) {
        Map<String, Object> plain = new LinkedHashMap<>();
        plain.put("state", stats.state().name().toLowerCase(java.util.Locale.ROOT));
        plain.put("outbox", stats.outbox());
        plain.put("handled", stats.handled());
        plain.put("acked", stats.acknowledged());
        plain.put("attempts", stats.attempts());
        return plain;
    }

    private static List<Object> refusals(List<Refusal> refused) {
        List<Object> plain = new ArrayList<>();
        refused.forEach(each -> plain.add(Map.of("address", each.address(), "code", each.code())));
        return plain;
    }

    private static final Set<String> KNOWN = Set.of("id", "from", "to", "cc", "subject", "content", "type", "contentType", "charset",
            "seq", "log", "inReplyTo", "level", "tags", "state", "attachments", "references", "subjectId", "receipt", "expiresAt",
            "createTime", "lastUpdateTime", "fromTag");

    private static Object plain(Message message) {
        Map<String, Object> plain = new LinkedHashMap<>();
        Map<String, Object> other = new LinkedHashMap<>();
        message.fields().forEach((name, value) -> (KNOWN.contains(name) ? plain : other).put(name, value));
        plain.remove("content");
        plain.put("other", other);
        plain.put("group", message.group());
        plain.put("mine", message.mine());
        try {
            plain.put("bytes", Base64.getEncoder().encodeToString(message.bytes()));
            plain.put("text", message.text());
            if (message.contentType() == 3) {
                plain.put("json", message.json());
            }
        } catch (IllegalArgumentException e) {
            plain.put("text", null);
        }
        List<Object> files = new ArrayList<>();
        for (Attachment file : message.files()) {
            Map<String, Object> each = new LinkedHashMap<>();
            each.put("name", file.name());
            each.put("type", file.type());
            each.put("bytes", Base64.getEncoder().encodeToString(file.bytes()));
            files.add(each);
        }
        plain.put("files", files);
        Instant expires = message.expires();
        plain.put("expiresAt", expires == null ? null : expires.getEpochSecond());
        return plain;
    }

    // JSON.

    @SuppressWarnings("unchecked") // Json.parse makes no map without text keys
    private static Map<String, Object> map(Object value) {
        return value == null ? Map.of() : (Map<String, Object>) value;
    }

    private static String[] texts(Object value) {
        if (value == null) {
            return new String[0];
        }
        List<?> all = value instanceof List ? (List<?>) value : List.of(value);
        return all.toArray(new String[0]);
    }

    private static int number(Map<String, Object> from, String name, int absent) {
        Object value = from.get(name);
        return value == null ? absent : ((Number) value).intValue();
    }

    private static Duration seconds(Map<String, Object> from, String name, int absent) {
        Object value = from.get(name);
        return Duration.ofMillis(value == null ? absent * 1000L : Math.round(((Number) value).doubleValue() * 1000));
    }
}
