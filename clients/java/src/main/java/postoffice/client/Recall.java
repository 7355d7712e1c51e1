package postoffice.client;

import java.util.List;

/** What a recall has done. */
public final class Recall {
    private final List<String> recalled;
    private final List<Refusal> notRecalled;

    Recall(List<String> recalled, List<Refusal> notRecalled) {
        this.recalled = recalled;
        this.notRecalled = notRecalled;
    }

    /**
     * Where the mail was taken out.
     *
     * @return addresses
     */
    public List<String> recalled() {
        return recalled;
    }

    /**
     * Where the mail stays, and why.
     *
     * @return a list
     */
    public List<Refusal> notRecalled() {
        return notRecalled;
    }

    @Override
    public String toString() {
        return "recalled " + recalled + ", not " + notRecalled;
    }
}
