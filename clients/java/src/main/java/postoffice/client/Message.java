package postoffice.client;

import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A message that came: mail, a post of a group, or a signal. */
public final class Message {
    /** {@code type} of mail. */
    public static final int MAIL = 1;
    /** {@code type} of a signal. */
    public static final int SIGNAL = 2;
    /** {@code type} of a post. */
    public static final int POST = 3;
    static final int CONTROL = 4;

    private final Engine engine;
    private final Map<String, Object> fields;
    private final String own;
    private final Map<String, String> kept = Collections.synchronizedMap(new LinkedHashMap<>());

    Message(Engine engine, Map<String, Object> fields, String own) {
        this.engine = engine;
        this.fields = fields;
        this.own = own;
    }

    /**
     * Every field as it came, those that this class does not know too.
     *
     * @return a map as {@link Json#parse} makes it; not to be changed
     */
    public Map<String, Object> fields() {
        return Collections.unmodifiableMap(fields);
    }

    /**
     * The message's id, unique per sender.
     *
     * @return the id
     */
    public String id() {
        return text("id", "");
    }

    /**
     * Whose message this is.
     *
     * @return an address
     */
    public String from() {
        return text("from", "");
    }

    /**
     * To whom.
     *
     * @return addresses
     */
    public List<String> to() {
        return texts(fields.get("to"));
    }

    /**
     * To whom else.
     *
     * @return addresses
     */
    public List<String> cc() {
        return texts(fields.get("cc"));
    }

    /**
     * What the message is about.
     *
     * @return text, perhaps empty
     */
    public String subject() {
        return text("subject", "");
    }

    /**
     * What kind of message this is.
     *
     * @return {@link #MAIL}, {@link #SIGNAL} or {@link #POST}
     */
    public int type() {
        return (int) number("type", 0);
    }

    /**
     * What the content is (docs/protocol.md, section 2).
     *
     * @return the number, or -1 when the sender does not say
     */
    public int contentType() {
        return (int) number("contentType", -1);
    }

    /**
     * The priority.
     *
     * @return -9 to 9
     */
    public int level() {
        return (int) number("level", 0);
    }

    /**
     * Marks that the sender put there.
     *
     * @return words
     */
    public List<String> tags() {
        return texts(fields.get("tags"));
    }

    /**
     * The place in the mailbox, or in the group's log; only the server compares places.
     *
     * @return the place, or null of what is not stored
     */
    public String seq() {
        return text("seq", null);
    }

    /**
     * Of a post: the group in whose log the message lies.
     *
     * @return the group, or null
     */
    public String group() {
        return text("log", null);
    }

    /**
     * The message that this one answers.
     *
     * @return an id, or null
     */
    public String inReplyTo() {
        return text("inReplyTo", null);
    }

    /**
     * The thread.
     *
     * @return an id, or null
     */
    public String subjectId() {
        return text("subjectId", null);
    }

    /**
     * A related subject.
     *
     * @return an id, or null
     */
    public String references() {
        return text("references", null);
    }

    /**
     * When the message was made.
     *
     * @return a time in whole seconds, or null
     */
    public Instant sentAt() {
        return time("createTime");
    }

    /**
     * After this time the message is not delivered any more.
     *
     * @return a time in whole seconds, or null
     */
    public Instant expires() {
        return time("expiresAt");
    }

    /**
     * Which receipts the sender asked for.
     *
     * @return 0, 2 or 3
     */
    public int receipt() {
        return (int) number("receipt", 0);
    }

    /**
     * Whether this is a copy of what another device of the own address has sent.
     *
     * @return true of such a copy
     */
    public boolean mine() {
        return group() == null && from().equals(own) && !to().contains(own) && !cc().contains(own);
    }

    /**
     * The content as bytes.
     *
     * @return the bytes, a new array
     * @throws IllegalArgumentException when the content is no base64
     */
    public byte[] bytes() {
        return Base64.getDecoder().decode(text("content", ""));
    }

    /**
     * The content as text, by its {@code charset}.
     *
     * @return the text, or null when {@link #contentType} says that the content is no text
     * @throws IllegalArgumentException when this JVM does not know the charset, or the content is no base64
     */
    public String text() {
        int kind = contentType();
        if (kind > Letter.JSON) {
            return null;
        }
        String charset = text("charset", "");
        return new String(bytes(), charset.isEmpty() ? StandardCharsets.UTF_8 : Charset.forName(charset));
    }

    /**
     * The content as JSON.
     *
     * @return what {@link Json#parse} makes of the content
     * @throws IllegalArgumentException when the content is no JSON
     */
    public Object json() {
        String text = text();
        return Json.parse(text == null ? new String(bytes(), StandardCharsets.UTF_8) : text);
    }

    /**
     * The files that came along.
     *
     * @return the attachments that have a {@code content}
     */
    public List<Attachment> files() {
        List<Attachment> files = new ArrayList<>();
        for (Object each : list(fields.get("attachments"))) {
            Map<String, Object> entry = map(each);
            if (entry.get("content") instanceof String) {
                files.add(new Attachment(word(entry.get("name")), word(entry.get("contentType")),
                        Base64.getDecoder().decode((String) entry.get("content"))));
            }
        }
        return files;
    }

    /**
     * Answers the sender, or of a post the group; returns when the answer is accepted.
     *
     * @param text the answer
     * @return the server's word
     * @throws InterruptedException when the thread is interrupted; the answer goes all the same
     */
    public Accepted reply(String text) throws InterruptedException {
        return Wait.on(replyAsync(new Letter().text(text)));
    }

    /**
     * Answers the sender, or of a post the group; returns when the answer is accepted.
     *
     * @param letter the answer; recipients, subject, thread and {@code inReplyTo} are set unless they are set already
     * @return the server's word
     * @throws InterruptedException when the thread is interrupted; the answer goes all the same
     */
    public Accepted reply(Letter letter) throws InterruptedException {
        return Wait.on(replyAsync(letter));
    }

    /**
     * Like {@link #reply(Letter)}, without waiting.
     *
     * @param letter the answer
     * @return settles with the server's word
     */
    public Sending replyAsync(Letter letter) {
        boolean post = group() != null;
        return engine.send(addressed(letter, post ? group() : from()), post ? POST : MAIL);
    }

    /**
     * Tells the sender that a person has read this mail; has an effect when {@link #receipt} is 3.
     *
     * @return settles with the server's word
     */
    public Sending readAsync() {
        return engine.send(Letter.to(from()).subject("read").set("inReplyTo", id()).set("state", 3), CONTROL);
    }

    /**
     * Keeps a word of the application's own in the client's storage, in the same record that remembers this message: after a
     * crash either both are there or none. The word is written when the handler has returned.
     *
     * @param key any name; the same name again replaces
     * @param value the word, or null to delete
     * @see PostOffice#kept
     */
    public void keep(String key, String value) {
        kept.put(key, value);
    }

    Map<String, String> kept() {
        synchronized (kept) {
            return new LinkedHashMap<>(kept);
        }
    }

    Letter addressed(Letter letter, String recipient) {
        if (letter.recipients().isEmpty()) {
            letter.to(List.of(recipient));
        }
        if (letter.envelope(MAIL, "").get("subject").equals("")) {
            letter.subject(subject());
        }
        if (!letter.has("subjectId") && subjectId() != null) {
            letter.subjectId(subjectId());
        }
        return letter.has("inReplyTo") ? letter : letter.inReplyTo(id());
    }

    /** Two messages of the same sender with the same id are the same message. */
    String key() {
        return from() + "\n" + id();
    }

    String text(String name, String absent) {
        Object value = fields.get(name);
        return value instanceof String ? (String) value : absent;
    }

    long number(String name, long absent) {
        Object value = fields.get(name);
        return value instanceof Number ? ((Number) value).longValue() : absent;
    }

    private Instant time(String name) {
        Object value = fields.get(name);
        return value instanceof Long ? Instant.ofEpochSecond((Long) value) : null;
    }

    private static String word(Object value) {
        return value == null ? null : String.valueOf(value);
    }

    /** The texts of a list, or of a lone text. */
    static List<String> texts(Object value) {
        if (value instanceof String) {
            return List.of((String) value);
        }
        List<String> texts = new ArrayList<>();
        for (Object each : list(value)) {
            if (each instanceof String) {
                texts.add((String) each);
            }
        }
        return texts;
    }

    static List<?> list(Object value) {
        return value instanceof List ? (List<?>) value : List.of();
    }

    /** A JSON object, or an empty one in place of anything else. */
    static Map<String, Object> map(Object value) {
        Map<String, Object> map = new LinkedHashMap<>();
        if (value instanceof Map) {
            ((Map<?, ?>) value).forEach((name, each) -> map.put(String.valueOf(name), each));
        }
        return map;
    }

    /** The {@code refused} or {@code notRecalled} of an answer. */
    static List<Refusal> refusals(Object value) {
        List<Refusal> refusals = new ArrayList<>();
        for (Object each : list(value)) {
            Map<String, Object> entry = map(each);
            refusals.add(new Refusal(word(entry.get("address")), word(entry.get("code"))));
        }
        return refusals;
    }

    @Override
    public String toString() {
        return "from " + from() + ": " + subject() + " (" + id() + ")";
    }
}
