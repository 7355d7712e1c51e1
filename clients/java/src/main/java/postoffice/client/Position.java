package postoffice.client;

import java.util.HashMap;
import java.util.Map;

/**
 * Up to where the own mailbox is acknowledged, and in which epoch: from there a new connection reads. Only what the server has
 * said stands here, because only the server can compare places. Lives on the loop.
 */
final class Position {
    private final Engine engine;
    private String address;
    private String seq;
    private String epoch;
    private String acknowledged;
    private boolean service;

    Position(Engine engine, Map<String, String> stored) {
        this.engine = engine;
        address = stored.get("address");
        seq = stored.get("position");
        epoch = stored.getOrDefault("epoch", "");
    }

    boolean isKnown() {
        return seq != null && !epoch.isEmpty();
    }

    boolean isService() {
        return service;
    }

    String seq() {
        return seq;
    }

    String epoch() {
        return epoch;
    }

    String address() {
        return address;
    }

    String acknowledged() {
        return acknowledged;
    }

    boolean isOf(String other) {
        return address == null || address.equals(other);
    }

    /** Takes a `welcome`; returns whether the server's data are others than before. */
    boolean welcome(Welcome said, boolean again) {
        service = said.service();
        if (said.epoch().isEmpty()) { // the server has no storage at present: what is known stays known
            return false;
        }
        boolean changed = !epoch.isEmpty() && !epoch.equals(said.epoch());
        boolean gapOnly = again && !changed && epoch.equals(said.epoch());
        address = said.address();
        epoch = said.epoch();
        if (!gapOnly) {
            seq = said.cursor();
        }
        keep();
        return changed;
    }

    void acknowledged(Acknowledged ack) {
        acknowledged = ack.seq();
        if (!service) {
            seq = ack.cursor();
            keep();
        }
    }

    private void keep() {
        Map<String, String> changes = new HashMap<>();
        changes.put("address", address);
        changes.put("position", service ? null : seq);
        changes.put("epoch", service ? null : epoch);
        engine.keeper.write(changes);
    }
}
