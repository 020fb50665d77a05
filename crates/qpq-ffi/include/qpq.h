/*
 * libqpq: end-to-end encrypted messaging for other programs.
 *
 * A program opens a profile (a directory), which gives it a client; asks for things with qpq_request, in JSON; and takes
 * what happens with qpq_next_event, in JSON. The guide, with all requests and objects: docs/src/embedding.md.
 *
 * Every function returns a status (qpq_status), 0 when it is done, and those that have a qpq_buffer put a reply or an error
 * object into it, {"type":"error","code":...,"status":...,"text":...}. What was in the buffer before is overwritten; what is in
 * it afterwards belongs to the library until qpq_buffer_free.
 *
 * All functions may be called from any thread at any time, also several for one client at once, and block only their own
 * thread. Not from a signal handler, and not in a child after fork: open the client in the process that uses it.
 *
 * A NULL pointer, a handle that was closed, and text that is not UTF-8 are errors. Nothing unwinds out of the library.
 */


#ifndef QPQ_H
#define QPQ_H

/* Made by `cargo xtask header` from crates/qpq-ffi/src; change it there. */

#include <stddef.h>
#include <stdint.h>

/**
 * The version of this header. A library with another number cannot be used with it.
 */
#define QPQ_ABI_VERSION 1

/**
 * What every function returns. The numbers and names never change; there may be more of them in later versions, so treat
 * an unknown one like QPQ_STATUS_INTERNAL.
 */
enum qpq_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Done.
     */
    QPQ_STATUS_OK = 0,
    /**
     * qpq_next_event: nothing came in time. Not an error.
     */
    QPQ_STATUS_NO_EVENT = 1,
    /**
     * "bad_input": the request cannot be meant like this; the text says what is wrong.
     */
    QPQ_STATUS_BAD_INPUT = 10,
    /**
     * "bad_handle": no client is open under this handle (any more).
     */
    QPQ_STATUS_BAD_HANDLE = 11,
    /**
     * "null_pointer": an argument that must not be NULL is.
     */
    QPQ_STATUS_NULL_POINTER = 12,
    /**
     * "invalid_utf8": an argument is not UTF-8 text.
     */
    QPQ_STATUS_INVALID_UTF8 = 13,
    /**
     * "offline": there is no connection. What was to be sent is stored and goes out with the next one.
     */
    QPQ_STATUS_OFFLINE = 20,
    /**
     * "timed_out": it takes longer than timeout_ms. It goes on by itself.
     */
    QPQ_STATUS_TIMED_OUT = 21,
    /**
     * "canceled": qpq_cancel or qpq_close ended the call. What was stored goes on by itself.
     */
    QPQ_STATUS_CANCELED = 22,
    /**
     * "refused": the server or the rules of the group said no.
     */
    QPQ_STATUS_REFUSED = 30,
    /**
     * "wrong_password": of the profile, or of the account; or the words of recovery are.
     */
    QPQ_STATUS_WRONG_PASSWORD = 31,
    /**
     * "name_taken": somebody else registered that name.
     */
    QPQ_STATUS_NAME_TAKEN = 32,
    /**
     * "device_unknown": no account on the server lists this device (any more).
     */
    QPQ_STATUS_DEVICE_UNKNOWN = 33,
    /**
     * "trust_decision": a name now belongs to another identity; the object has name, old_id and new_id. Nothing is sent
     * until the user decides.
     */
    QPQ_STATUS_TRUST_DECISION = 40,
    /**
     * "certificate": the server's certificate is not the right one.
     */
    QPQ_STATUS_CERTIFICATE = 41,
    /**
     * "no_profile": there is none in this directory.
     */
    QPQ_STATUS_NO_PROFILE = 50,
    /**
     * "profile_exists": there is one in this directory already.
     */
    QPQ_STATUS_PROFILE_EXISTS = 51,
    /**
     * "profile_in_use": another process, or another handle, has it open.
     */
    QPQ_STATUS_PROFILE_IN_USE = 52,
    /**
     * "file_exists": a download does not replace what is there, unless the request says so.
     */
    QPQ_STATUS_FILE_EXISTS = 53,
    /**
     * "unknown_user": nobody on the server has that name.
     */
    QPQ_STATUS_UNKNOWN_USER = 60,
    /**
     * "unknown_conversation": there is none like that here.
     */
    QPQ_STATUS_UNKNOWN_CONVERSATION = 61,
    /**
     * "disk_full": nothing was lost; free some space and try again.
     */
    QPQ_STATUS_DISK_FULL = 70,
    /**
     * "store": the profile's files cannot be read or written, or are damaged.
     */
    QPQ_STATUS_STORE = 71,
    /**
     * "internal": a defect of the library; the call has done nothing that can be relied on.
     */
    QPQ_STATUS_INTERNAL = 80,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum qpq_status qpq_status;
#else
typedef int32_t qpq_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * A client that is open. It is a number and not a pointer: a stale or foreign one gives QPQ_STATUS_BAD_HANDLE. 0 is never one.
 */
typedef uint64_t qpq_client;

/**
 * Bytes that belong to the library: JSON text in UTF-8, followed by a zero byte that `len` does not count. Give them back
 * with qpq_buffer_free. Empty (NULL and 0) when there is nothing.
 */
typedef struct {
    char *data;
    size_t len;
} qpq_buffer;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The ABI version of the library that is loaded, to be compared with QPQ_ABI_VERSION.
 */
uint32_t qpq_abi_version(void);

/**
 * The version of the library, such as "0.1.0". Not to be freed.
 */
const char *qpq_version(void);

/**
 * The stable name of a status, such as "offline"; "unknown" for a number that is none. Not to be freed.
 */
const char *qpq_status_code(int32_t status);

/**
 * Opens the profile in a directory. Needs no connection; qpq_connect makes one.
 *
 * `config` is a JSON object: "home" (the directory) and "password", and if wanted "server" ("HOST:PORT"), "ca_cert" (a file:
 * trust only this) and "fingerprint" (pin this certificate). A directory can be open once: a second handle, or another
 * process, gets QPQ_STATUS_PROFILE_IN_USE.
 *
 * On success `*client` is the handle. On failure it is 0, and `*error` (which may be NULL) is the error object.
 *
 * Pointers:
 * `config` points to `len` bytes; `client` and `error` point to writable variables.
 */
int32_t qpq_open(const char *config,
                 size_t len,
                 qpq_client *client,
                 qpq_buffer *error);

/**
 * Makes an account on the server and a profile for it, opens that and connects. `config` as for qpq_open, with "name" and, if
 * the server asks for it, "invite". The same call again finishes a registration that was interrupted. Blocks for as long
 * as the server takes, but not for ever.
 *
 * Pointers:
 * As qpq_open.
 */
int32_t qpq_register(const char *config,
                     size_t len,
                     qpq_client *client,
                     qpq_buffer *error);

/**
 * Proves the password of the account to the server, opens the profile and connects. `config` as for qpq_open, with "name".
 *
 * With "recovery_phrase" (24 words) it brings the account back when all devices are lost: into a directory without a profile,
 * with "password" as the new one. All other devices are locked out. The same call again finishes what was interrupted.
 *
 * Pointers:
 * As qpq_open.
 */
int32_t qpq_login(const char *config,
                  size_t len,
                  qpq_client *client,
                  qpq_buffer *error);

/**
 * Makes a directory without a profile a further device of an account. `config` as for qpq_open, with "device_name" if wanted;
 * the password is for the new profile.
 *
 * On success `*reply` has the "code" (and a "link" for a QR code) that another device of the account is to be given, and
 * `*client` is a handle that takes the requests "link_wait" (answers with the number to be compared on both) and "link_accept"
 * (waits until the other device has approved). After that it is the handle of a client that is open and connected. qpq_cancel
 * and qpq_close are for it as for any other.
 *
 * Pointers:
 * As qpq_open; `reply` points to a writable variable.
 */
int32_t qpq_link(const char *config,
                 size_t len,
                 qpq_client *client,
                 qpq_buffer *reply);

/**
 * Starts to connect, and connects again by itself from then on. Returns at once; the request "status" tells how it stands.
 */
int32_t qpq_connect(qpq_client client);

/**
 * Everything that is not a function of its own: sending, groups, people, settings. `request` is a JSON object with "op" and
 * what belongs to it, and "timeout_ms" for how long to wait for the server (15000 if left out; 0 to wait for nothing). The book
 * lists them under "Requests".
 *
 * `*reply` is the reply, or the error object. What is stored when the call returns is durable, also when it timed out.
 *
 * Pointers:
 * `request` points to `len` bytes; `reply` is NULL or points to a writable variable.
 */
int32_t qpq_request(qpq_client client,
                    const char *request,
                    size_t len,
                    qpq_buffer *reply);

/**
 * The next event after the last one that was returned to this consumer. Waits up to `timeout_ms`: 0 looks and does not wait.
 * QPQ_STATUS_NO_EVENT when nothing came.
 *
 * `consumer` is a name of your choice (1 to 64 bytes) under which the position is stored in the profile. A new one begins with
 * the first event of the profile. An event that was returned and not acknowledged comes again the next time that the
 * profile is opened, so a program that is killed misses none.
 *
 * Several threads may wait with one consumer, each event goes to one of them; or each with its own, then each gets all.
 *
 * Pointers:
 * `consumer` is a C string; `event` is NULL or points to a writable variable.
 */
int32_t qpq_next_event(qpq_client client,
                       const char *consumer,
                       uint32_t timeout_ms,
                       qpq_buffer *event);

/**
 * Stores that this consumer has dealt with everything up to `position` (of an event): it does not come again.
 *
 * Pointers:
 * `consumer` is a C string; `error` is NULL or points to a writable variable.
 */
int32_t qpq_acknowledge(qpq_client client, const char *consumer, uint64_t position, qpq_buffer *error);

/**
 * A file descriptor for event loops (poll, epoll, select, asyncio): readable when qpq_next_event is worth calling, with a
 * timeout of 0, until it returns QPQ_STATUS_NO_EVENT. Do not read from it and do not close it: it belongs to the client, and is
 * closed some time after qpq_close. Take it out of your loop before that.
 *
 * Pointers:
 * `consumer` is a C string; `fd` and `error` point to writable variables, `error` may be NULL.
 */
int32_t qpq_event_fd(qpq_client client,
                     const char *consumer,
                     int32_t *fd,
                     qpq_buffer *error);

/**
 * Ends all calls that wait at this moment in other threads: they return QPQ_STATUS_CANCELED. Calls that begin later wait as usual.
 */
int32_t qpq_cancel(qpq_client client);

/**
 * Ends the connection and the client's threads, and releases the profile. Calls that wait in other threads end with
 * QPQ_STATUS_CANCELED or QPQ_STATUS_BAD_HANDLE. The handle is stale from now on, so that a second close is QPQ_STATUS_BAD_HANDLE and nothing else.
 */
int32_t qpq_close(qpq_client client);

/**
 * Gives a buffer back, wiped, and empties it. Nothing happens when it is empty, or NULL.
 *
 * Pointers:
 * `buffer` is NULL or points to a buffer that this library has filled and that has not been copied elsewhere and freed there.
 */
void qpq_buffer_free(qpq_buffer *buffer);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* QPQ_H */
