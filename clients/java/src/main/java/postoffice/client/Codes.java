package postoffice.client;

/** What a client does after a close code or an HTTP status: docs/protocol.md, section 7. Decides, and does nothing. */
final class Codes {
    /** A connection that broke without a close frame. */
    static final int BROKEN = 1006;
    static final int NORMAL = 1000;
    static final int TOO_LARGE = 1009;
    static final int TOKEN_EXPIRED = 4001;
    static final int REQUEST_REFUSED = 4400;
    static final int TOKEN_REFUSED = 4401;

    enum Step { RECONNECT, NEW_TOKEN, END }

    private Codes() {
    }

    static Step after(int closeCode) {
        switch (closeCode) {
            case TOKEN_EXPIRED:
            case TOKEN_REFUSED:
                return Step.NEW_TOKEN;
            case 1002:
            case 1003:
            case 1007:
            case 1008:
                return Step.END;
            default:
                return closeCode >= 4400 && closeCode < 4600 ? Step.END : Step.RECONNECT;
        }
    }

    /** The close code that stands for an HTTP status in place of 101, so that an application knows one set of numbers. */
    static int ofStatus(int status) {
        switch (status) {
            case 401:
                return TOKEN_REFUSED;
            case 403:
                return 4403;
            case 404:
                return 4404;
            case 408:
            case 429:
                return 1013;
            default:
                return status >= 500 && status != 505 ? 1013 : REQUEST_REFUSED;
        }
    }
}
