import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import postoffice.client.FileStorage;
import postoffice.client.Json;

/** Single parts of the library, each answering lines of JSON with lines of JSON: Parts json | storage FOLDER. */
public final class Parts {
    private Parts() {
    }

    public static void main(String[] arguments) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        if (arguments[0].equals("json")) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                out.println(again(line));
            }
            return;
        }
        try (FileStorage storage = new FileStorage(Path.of(arguments[1]))) {
            out.println(Json.write(new TreeMap<>(storage.all())));
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                storage.write(changes(Json.parse(line)));
                storage.force();
                out.println("{}");
            }
        } catch (IOException e) {
            out.println(Json.write(Map.of("refused", String.valueOf(e.getMessage()))));
        }
    }

    private static String again(String line) {
        try {
            return Json.write(Json.parse(line));
        } catch (IllegalArgumentException e) {
            return "bad";
        }
    }

    private static Map<String, String> changes(Object value) {
        Map<String, String> changes = new LinkedHashMap<>();
        ((Map<?, ?>) value).forEach((key, each) -> changes.put((String) key, (String) each));
        return changes;
    }
}
