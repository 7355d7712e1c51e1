package postoffice.client;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Which stored messages to read, newest first; without more, those of the own mailbox. */
public final class HistoryQuery {
    private final Map<String, Object> fields = new LinkedHashMap<>();

    /** The own mailbox, all of it. */
    public HistoryQuery() {
        // No field: the server's defaults.
    }

    private HistoryQuery set(String name, Object value) {
        fields.put(name, value);
        return this;
    }

    /**
     * Reads the log of a group.
     *
     * @param group a group that the token allows
     * @return this query
     */
    public HistoryQuery group(String group) {
        return set("tags", List.of(group));
    }

    /**
     * Reads one thread alone.
     *
     * @param subjectId the thread
     * @return this query
     */
    public HistoryQuery thread(String subjectId) {
        return set("subjectId", subjectId);
    }

    /**
     * Reads what is older than a message.
     *
     * @param seq that message's place
     * @return this query
     */
    public HistoryQuery before(String seq) {
        return set("references", seq);
    }

    /**
     * Bounds a page.
     *
     * @param limit 1 to 200 messages
     * @return this query
     */
    public HistoryQuery limit(int limit) {
        return set("limit", limit);
    }

    Map<String, Object> fields() {
        return new LinkedHashMap<>(fields);
    }

    HistoryQuery next(String references) {
        HistoryQuery next = new HistoryQuery();
        next.fields.putAll(fields);
        return next.before(references);
    }
}
