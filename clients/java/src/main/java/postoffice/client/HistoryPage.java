package postoffice.client;

import java.util.List;

/** Some stored messages, newest first. */
public final class HistoryPage {
    private final List<Message> messages;
    private final HistoryQuery next;

    HistoryPage(List<Message> messages, HistoryQuery next) {
        this.messages = messages;
        this.next = next;
    }

    /**
     * The messages of this page.
     *
     * @return messages, newest first; perhaps none
     */
    public List<Message> messages() {
        return messages;
    }

    /**
     * How to read on.
     *
     * @return the query for older messages, or null when this page is the last
     */
    public HistoryQuery next() {
        return next;
    }
}
