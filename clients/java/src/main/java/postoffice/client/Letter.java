package postoffice.client;

import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A message to send: {@code Letter.to("bob").subject("Lunch").text("At one?")}.
 *
 * <p>Whatever is not set is left to the server or has the default of docs/protocol.md, section 2. A letter is not meant for
 * several threads at once; {@code send} takes a copy.
 */
public final class Letter {
    static final int TEXT = 0;
    static final int JSON = 3;
    static final int FILE = 7;

    private final Map<String, Object> fields = new LinkedHashMap<>();
    private Charset charset = StandardCharsets.UTF_8;

    /** A letter to nobody yet: for a reply, whose recipient is known. */
    public Letter() {
        fields.put("to", List.of());
        fields.put("subject", "");
        fields.put("content", "");
    }

    /**
     * A letter to these recipients.
     *
     * @param addresses users, or groups for a post
     * @return a new letter
     */
    public static Letter to(String... addresses) {
        return new Letter().to(Arrays.asList(addresses));
    }

    /**
     * Names the recipients, in place of those before.
     *
     * @param addresses users, or groups for a post
     * @return this letter
     */
    public Letter to(Collection<String> addresses) {
        return set("to", List.copyOf(addresses));
    }

    /**
     * Names further recipients.
     *
     * @param addresses users, or groups for a post
     * @return this letter
     */
    public Letter cc(String... addresses) {
        return set("cc", List.of(addresses));
    }

    /**
     * Says what the letter is about.
     *
     * @param subject at most 998 bytes
     * @return this letter
     */
    public Letter subject(String subject) {
        return set("subject", subject);
    }

    /**
     * Sets the content to text, in UTF-8 unless {@link #charset} came before.
     *
     * @param text any text
     * @return this letter
     */
    public Letter text(String text) {
        return content(text.getBytes(charset), TEXT);
    }

    /**
     * Sets the content to JSON.
     *
     * @param value what {@link Json#write} takes
     * @return this letter
     */
    public Letter json(Object value) {
        return content(Json.write(value).getBytes(charset), JSON);
    }

    /**
     * Sets the content to bytes of a kind that the application knows ({@code contentType} 7).
     *
     * @param bytes any bytes
     * @return this letter
     */
    public Letter bytes(byte[] bytes) {
        return content(bytes, FILE);
    }

    private Letter content(byte[] bytes, int contentType) {
        fields.put("content", Base64.getEncoder().encodeToString(bytes));
        fields.putIfAbsent("contentType", contentType);
        return this;
    }

    /**
     * Says what the content is, when it is neither plain text nor JSON.
     *
     * @param contentType docs/protocol.md, section 2; 1000 and up is the application's own
     * @return this letter
     */
    public Letter contentType(int contentType) {
        return set("contentType", contentType);
    }

    /**
     * Chooses how {@link #text} and {@link #json} become bytes; has to come before them.
     *
     * @param charset one that the recipient knows too
     * @return this letter
     */
    public Letter charset(Charset charset) {
        this.charset = charset;
        return set("charset", charset.name().toLowerCase(java.util.Locale.ROOT));
    }

    /**
     * Sets the priority.
     *
     * @param level -9 to 9, 0 is usual; a higher one overtakes
     * @return this letter
     */
    public Letter level(int level) {
        return set("level", level);
    }

    /**
     * Adds marks that the server carries.
     *
     * @param tags any words
     * @return this letter
     */
    public Letter tags(String... tags) {
        return set("tags", List.of(tags));
    }

    /**
     * Adds a file.
     *
     * @param file a file; its bytes travel in the message and count towards the server's {@code messageBytes}
     * @return this letter
     */
    public Letter attach(Attachment file) {
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("name", file.name());
        if (file.type() != null) {
            entry.put("contentType", file.type());
        }
        entry.put("size", file.bytes().length);
        entry.put("content", Base64.getEncoder().encodeToString(file.bytes()));
        List<Object> all = new ArrayList<>();
        Object before = fields.get("attachments");
        if (before instanceof List) {
            all.addAll((List<?>) before);
        }
        all.add(entry);
        return set("attachments", all);
    }

    /**
     * Names a related subject.
     *
     * @param subjectId its id
     * @return this letter
     */
    public Letter references(String subjectId) {
        return set("references", subjectId);
    }

    /**
     * Names the message that this letter answers.
     *
     * @param id its id
     * @return this letter
     */
    public Letter inReplyTo(String id) {
        return set("inReplyTo", id);
    }

    /**
     * Puts the letter into a thread.
     *
     * @param subjectId the thread's id
     * @return this letter
     */
    public Letter subjectId(String subjectId) {
        return set("subjectId", subjectId);
    }

    /**
     * After this time nobody gets the letter any more.
     *
     * @param when a time; seconds count
     * @return this letter
     */
    public Letter expiresAt(Instant when) {
        return set("expiresAt", when.getEpochSecond());
    }

    /**
     * Like {@link #expiresAt}, counted from now.
     *
     * @param life at least a second
     * @return this letter
     */
    public Letter expiresIn(Duration life) {
        return expiresAt(Instant.now().plus(life));
    }

    /**
     * Asks for receipts.
     *
     * @param receipt 2: tell me when the mail is delivered, recalled or has expired; 3: and when it is read
     * @return this letter
     */
    public Letter receipt(int receipt) {
        return set("receipt", receipt);
    }

    /**
     * Names the letter; without this the client makes an id.
     *
     * @param id 1 to 64 of {@code A-Z a-z 0-9 . _ : -}; the same id again is the same message
     * @return this letter
     */
    public Letter id(String id) {
        return set("id", id);
    }

    /**
     * Sends in the name of another address that the token's {@code relay} covers.
     *
     * @param address that address
     * @return this letter
     */
    public Letter from(String address) {
        return set("from", address);
    }

    /**
     * Sets any field of the envelope, one of the application's own too: unknown fields are carried.
     *
     * @param name the field
     * @param value what {@link Json#write} takes; null takes the field out
     * @return this letter
     */
    public Letter set(String name, Object value) {
        if (value == null) {
            fields.remove(name);
        } else {
            fields.put(name, value);
        }
        return this;
    }

    /**
     * The recipients named so far.
     *
     * @return addresses
     */
    public List<String> recipients() {
        List<String> all = new ArrayList<>(Message.texts(fields.get("to")));
        all.addAll(Message.texts(fields.get("cc")));
        return all;
    }

    /** A copy of the envelope as it is now; a field that the letter has stays as it is. */
    Map<String, Object> envelope(int type, String id) {
        Map<String, Object> envelope = new LinkedHashMap<>(fields);
        envelope.put("type", type);
        envelope.putIfAbsent("id", id);
        return envelope;
    }

    boolean has(String name) {
        return fields.containsKey(name);
    }
}
