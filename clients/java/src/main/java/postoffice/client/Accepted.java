package postoffice.client;

import java.util.List;

/** The server's word that a message is in the mailbox of at least one recipient. */
public final class Accepted {
    private final String id;
    private final int state;
    private final List<Refusal> refused;

    Accepted(String id, int state, List<Refusal> refused) {
        this.id = id;
        this.state = state;
        this.refused = refused;
    }

    /**
     * The message's id.
     *
     * @return the id
     */
    public String id() {
        return id;
    }

    /**
     * 1: stored. 2: the server keeps no mail, and handed the message to sessions.
     *
     * @return 1 or 2
     */
    public int state() {
        return state;
    }

    /**
     * The recipients that did not get the message.
     *
     * @return a list, empty when all got the message
     */
    public List<Refusal> refused() {
        return refused;
    }

    @Override
    public String toString() {
        return id + " " + state + (refused.isEmpty() ? "" : " refused " + refused);
    }
}
