#include "master/notice.h"

#include "common/clock.h"

#include <stdio.h>
#include <string.h>

/* Copies text; of a list that is too long the end becomes "...". */
static void put_text(char *to, size_t size, const char *text)
{
    size_t len = strlen(text);

    snprintf(to, size, "%s", text);
    if (len >= size)
        memcpy(to + size - 4, "...", 4);
}

static void put_config(struct about *about, const struct config *config)
{
    const char *name = strrchr(config->file, '/');
    struct buf items;

    snprintf(about->config_file, sizeof about->config_file, "%s%s%s", config->dir,
             strcmp(config->dir, "/") ? "/" : "", name ? name + 1 : config->file);
    buf_init(&items, 8192);
    for (size_t i = 0; i < config->listen.count; i++)
        buf_addf(&items, "%s%s", i ? "," : "", config->listen.items[i]);
    put_text(about->listen, sizeof about->listen, buf_text(&items));
    buf_fini(&items);
    about->port = (int32_t)config->socket_port;
    about->ssl_port = (int32_t)config->ssl_port;
}

void notice_start(struct server *server)
{
    put_text(server->about.version, sizeof server->about.version, POSTOFFICE_VERSION);
    put_config(&server->about, server->config);
    server->about.started_s = clock_unix_s();
    about_publish(server->region, &server->about);
}

void notice_reload_begins(struct server *server)
{
    server->about.reloads_begun++;
    about_publish(server->region, &server->about);
}

static void end_reload(struct server *server, enum reload_outcome outcome)
{
    server->about.outcome = outcome;
    server->about.reloaded_s = clock_unix_s();
    server->about.reloads_done = server->about.reloads_begun;
    about_publish(server->region, &server->about);
}

void notice_reload_refused(struct server *server, const char *why)
{
    put_text(server->about.why, sizeof server->about.why, why);
    end_reload(server, RELOAD_REFUSED);
}

void notice_reload_applied(struct server *server, const char *applied, const char *swapped,
                           const char *waiting)
{
    struct about *about = &server->about;

    put_config(about, server->config);
    put_text(about->applied, sizeof about->applied, applied);
    put_text(about->swapped, sizeof about->swapped, swapped);
    put_text(about->waiting, sizeof about->waiting, waiting);
    about->why[0] = 0;
    end_reload(server, RELOAD_APPLIED);
}
