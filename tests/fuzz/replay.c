/* Runs a fuzz target over every file of its corpus, so that a mended fault stays mended. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *folder, const char *name)
{
    static uint8_t bytes[1 << 20];
    char path[4096];
    FILE *file;
    size_t len;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (!file)
        return 0;
    len = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    uint8_t *copy =
        malloc(len ? len : 1); /* exact size, so that a sanitizer sees reads past the end */
    if (!copy)
        return 0;
    for (size_t i = 0; i < len; i++)
        copy[i] = bytes[i];
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
    return 1;
}

int main(int argc, char **argv)
{
    int count = 0;

    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        struct dirent *entry;
        if (!folder) {
            perror(argv[i]);
            return 1;
        }
        while ((entry = readdir(folder)))
            if (entry->d_name[0] != '.')
                count += replay(argv[i], entry->d_name);
        closedir(folder);
    }
    printf("%s: %d inputs replayed\n", argv[0], count);
    return count == 0; /* a missing corpus is a mistake, so 1 */
}
