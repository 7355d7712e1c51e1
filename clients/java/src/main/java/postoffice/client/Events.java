package postoffice.client;

import java.util.concurrent.Executor;

/** What a client tells its application, in order, on the thread of events. */
final class Events {
    final Event<StateChange> state;
    final Event<Welcome> welcome;
    final Event<String> replayed;
    final Event<Gap> gap;
    final Event<Receipt> receipt;
    final Event<Recalled> recalled;
    final Event<Message> signal;
    final Event<Message> handled;
    final Event<Acknowledged> acknowledged;
    final Event<PostOfficeException> error;

    Events(Executor workers) {
        Executor thread = new Serial(workers);
        state = new Event<>(thread);
        welcome = new Event<>(thread);
        replayed = new Event<>(thread);
        gap = new Event<>(thread);
        receipt = new Event<>(thread);
        recalled = new Event<>(thread);
        signal = new Event<>(thread);
        handled = new Event<>(thread);
        acknowledged = new Event<>(thread);
        error = new Event<>(thread);
    }

    /** Tells what no call fails with; when nobody listens, the log is told. */
    void error(PostOfficeException what) {
        if (error.isHeard()) {
            error.tell(what);
        } else {
            System.getLogger("postoffice.client").log(System.Logger.Level.WARNING, what.getMessage(), what);
        }
    }
}
