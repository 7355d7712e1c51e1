package postoffice.client;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/** The groups that the application wants to hear, on every connection: each goes on where the last acknowledgement stands. */
final class Subscriptions {
    private static final class Group {
        String position;
        String epoch = "";
    }

    private final Engine engine;
    private final Map<String, Group> groups = new LinkedHashMap<>();

    Subscriptions(Engine engine) {
        this.engine = engine;
    }

    boolean has(String group) {
        return groups.containsKey(group);
    }

    CompletableFuture<Map<String, Subscription>> subscribe(List<String> names, String since, String epoch) {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("tags", names);
        if (since != null) {
            fields.put("references", since);
        }
        if (epoch != null && !epoch.isEmpty()) {
            fields.put("epoch", epoch);
        }
        return engine.commands.run("subscribe", fields, false).thenApply(this::subscribed);
    }

    private Map<String, Subscription> subscribed(Map<String, Object> result) {
        Map<String, Subscription> found = new LinkedHashMap<>();
        Message.map(result.get("groups")).forEach((name, value) -> {
            Map<String, Object> place = Message.map(value);
            boolean recovered = !Boolean.FALSE.equals(place.get("recovered"));
            Group group = groups.computeIfAbsent(name, each -> new Group());
            String epoch = String.valueOf(result.getOrDefault("epoch", ""));
            boolean changed = !group.epoch.isEmpty() && !epoch.isEmpty() && !group.epoch.equals(epoch);
            if (!epoch.isEmpty()) {
                group.position = String.valueOf(place.get("cursor"));
                group.epoch = epoch;
            }
            if (!recovered) {
                engine.events.gap.tell(new Gap(name, changed));
            }
            found.put(name, new Subscription(name, String.valueOf(place.get("seq")), String.valueOf(place.get("cursor")), recovered));
        });
        return found;
    }

    CompletableFuture<Void> unsubscribe(List<String> names) {
        names.forEach(groups::remove);
        if (!engine.isOpen()) {
            return CompletableFuture.completedFuture(null); // the next connection does not subscribe to them
        }
        return engine.commands.run("unsubscribe", Map.of("tags", names), true).handle((result, failure) -> {
            names.forEach(engine.acks::forget);
            if (failure != null && !(failure instanceof Commands.LinkLost)) {
                throw (PostOfficeException) failure;
            }
            return null;
        });
    }

    /** Groups that a new token does not allow: the server has ended their subscriptions. */
    void lost(List<String> names) {
        for (String name : names) {
            groups.remove(name);
            engine.acks.forget(name);
            engine.events.error(new PostOfficeException("forbidden-to", "the new token does not allow the group " + name, null));
        }
    }

    void acknowledged(Acknowledged ack) {
        Group group = groups.get(ack.log());
        if (group != null) {
            group.position = ack.cursor();
        }
    }

    /** `replayed` of a group with `recovered: false`: posts are missing, or the whole log is a new one. */
    void gap(String name, String epoch) {
        Group group = groups.get(name);
        boolean changed = group != null && !group.epoch.equals(epoch);
        if (changed) {
            group.position = "0-0";
            group.epoch = epoch;
        }
        engine.events.gap.tell(new Gap(name, changed));
    }

    void linkOpened() {
        for (Map.Entry<String, Group> each : new ArrayList<>(groups.entrySet())) {
            Map<String, Object> fields = new LinkedHashMap<>();
            fields.put("tags", List.of(each.getKey()));
            if (each.getValue().position != null) {
                fields.put("references", each.getValue().position);
                fields.put("epoch", each.getValue().epoch);
            }
            engine.commands.run("subscribe", fields, true).whenComplete((result, failure) -> {
                if (failure == null) {
                    subscribed(result);
                } else if (!(failure instanceof Commands.LinkLost)) {
                    groups.remove(each.getKey());
                    engine.events.error((PostOfficeException) failure);
                }
            });
        }
    }
}
