/*
 * A chat client in C, on libqpq.
 *
 *     cc examples/c/chat.c $(pkg-config --cflags --libs qpq) -o chat
 *     QPQ_PASSWORD=... ./chat DIRECTORY HOST:PORT NAME @PEER
 *
 * Registers NAME if there is no profile in DIRECTORY. What you type goes to PEER (a person or a #group), what comes in is
 * printed; the end of the input, or /quit, ends it. One thread: poll() waits for the keyboard and for the library's events.
 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qpq.h"

/* Text as a JSON string: quotes, backslashes and control characters escaped. */
static void put_string(FILE *out, const char *text) {
    fputc('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

/* A JSON object of pairs of names and texts, ended by NULL. To be freed. */
static char *object(const char *name, ...) {
    char *json = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&json, &len);
    va_list pairs;
    if (!out)
        abort();
    va_start(pairs, name);
    for (const char *between = "{"; name; name = va_arg(pairs, const char *), between = ",") {
        fputs(between, out);
        put_string(out, name);
        fputc(':', out);
        put_string(out, va_arg(pairs, const char *));
    }
    va_end(pairs);
    fputc('}', out);
    fclose(out);
    return json;
}

/* The text behind "name": in an object of the library, unescaped as far as a terminal may see it. To be freed; NULL if it
 * is not there. A real program uses a JSON library. */
static char *field(const char *json, const char *name) {
    char key[64], *text, *end;
    snprintf(key, sizeof key, "\"%s\":\"", name);
    const char *at = strstr(json, key);
    if (!at)
        return NULL;
    at += strlen(key);
    text = end = malloc(strlen(at) + 1);
    if (!text)
        abort();
    for (; *at && *at != '"'; at++) {
        if (*at != '\\') {
            *end++ = *at;
        } else if (*++at == 'u') {
            *end++ = '?'; /* A control character. */
            at += 4;
        } else {
            *end++ = *at == 'n' || *at == 'r' || *at == 't' || *at == 'b' || *at == 'f' ? ' ' : *at;
        }
    }
    *end = 0;
    return text;
}

/* Says why a call failed. */
static void complain(const char *what, int32_t status, const qpq_buffer *error) {
    char *text = error->data ? field(error->data, "text") : NULL;
    fprintf(stderr, "%s: %s: %s\n", what, qpq_status_code(status), text ? text : "");
    free(text);
}

/* Prints everything that has come, and acknowledges it. */
static int print_events(qpq_client client) {
    for (;;) {
        qpq_buffer event = {0};
        int32_t status = qpq_next_event(client, "chat", 0, &event);
        if (status == QPQ_STATUS_NO_EVENT)
            return 0;
        if (status != QPQ_STATUS_OK) {
            complain("events", status, &event);
            qpq_buffer_free(&event);
            return 1;
        }
        char *type = field(event.data, "type");
        char *sender = field(event.data, "sender"), *text = field(event.data, "text");
        if (type && strcmp(type, "message") == 0 && strstr(event.data, "\"own\":false") && text)
            printf("%s: %s\n", sender ? sender : "?", text);
        else if (type && strcmp(type, "not_sent") == 0)
            printf("(a message was not sent)\n");
        fflush(stdout);
        /* Printed: it need not come again. The position is the object's last field. */
        const char *position = event.data;
        for (const char *next; (next = strstr(position + 1, "\"position\":")) != NULL;)
            position = next;
        qpq_acknowledge(client, "chat", strtoull(position + strlen("\"position\":"), NULL, 10), NULL);
        free(type), free(sender), free(text);
        qpq_buffer_free(&event);
    }
}

/* Stores a message; the library sends it as soon as there is a connection. */
static void send_line(qpq_client client, const char *peer, const char *line) {
    char *request = object("op", "send", "conversation", peer, "text", line, NULL);
    qpq_buffer reply = {0};
    int32_t status = qpq_request(client, request, strlen(request), &reply);
    if (status != QPQ_STATUS_OK)
        complain("not sent", status, &reply);
    qpq_buffer_free(&reply);
    free(request);
}

int main(int argc, char **argv) {
    const char *password = getenv("QPQ_PASSWORD");
    if (argc != 5 || !password) {
        fprintf(stderr, "usage: QPQ_PASSWORD=... %s DIRECTORY HOST:PORT NAME @PEER\n", argv[0]);
        return 2;
    }
    if (qpq_abi_version() != QPQ_ABI_VERSION) {
        fprintf(stderr, "this is libqpq %s, made for another version of its header\n", qpq_version());
        return 2;
    }
    qpq_client client = 0;
    qpq_buffer error = {0};
    char *config = object("home", argv[1], "server", argv[2], "password", password, NULL);
    int32_t status = qpq_open(config, strlen(config), &client, &error);
    free(config);
    if (status == QPQ_STATUS_NO_PROFILE) {
        qpq_buffer_free(&error);
        config = object("home", argv[1], "server", argv[2], "password", password, "name", argv[3], NULL);
        status = qpq_register(config, strlen(config), &client, &error);
        free(config);
    }
    int fd = -1;
    if (status == QPQ_STATUS_OK)
        status = qpq_connect(client);
    if (status == QPQ_STATUS_OK)
        status = qpq_event_fd(client, "chat", &fd, &error);
    if (status != QPQ_STATUS_OK) {
        complain("cannot begin", status, &error);
        qpq_buffer_free(&error);
        qpq_close(client);
        return 1;
    }
    puts("ready");
    fflush(stdout);
    struct pollfd waiting[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    char line[65536];
    size_t have = 0;
    int over = 0;
    while (!over && poll(waiting, 2, -1) >= 0) {
        if (waiting[1].revents)
            over = print_events(client);
        if (!waiting[0].revents)
            continue;
        ssize_t came = read(STDIN_FILENO, line + have, sizeof line - 1 - have);
        have += came > 0 ? (size_t)came : 0;
        for (char *end; !over && (end = memchr(line, '\n', have)) != NULL;) {
            *end = 0;
            over = strcmp(line, "/quit") == 0;
            if (*line && !over)
                send_line(client, argv[4], line);
            have -= (size_t)(end + 1 - line);
            memmove(line, end + 1, have);
        }
        over = over || came <= 0 || have == sizeof line - 1;
    }
    print_events(client);
    return qpq_close(client) == QPQ_STATUS_OK ? 0 : 1;
}
