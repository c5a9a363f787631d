/* Programs that do not want to be found, stopped or ended: `hostile_processes KIND [loose]`. Each ends by
 * itself when its own file is gone, or after some minutes, so that no test leaves one behind. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static const char *self;
static time_t last;

static void go_on(void)
{
    if (access(self, F_OK) != 0 || time(NULL) > last)
        _exit(0);
}

static void *work(void *unused)
{
    for (;;) {
        go_on();
        usleep(1000);
    }
    return unused;
}

/* In a session of its own, with nobody's child as its parent. */
static void get_loose(void)
{
    if (fork() > 0)
        _exit(0);
    setsid();
    if (fork() > 0)
        _exit(0);
}

int main(int count, char **arguments)
{
    pthread_t thread;

    if (count < 2)
        return 2;
    self = arguments[0];
    last = time(NULL) + 180;
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    if (count > 2 && strcmp(arguments[2], "loose") == 0)
        get_loose();
    puts("up");
    fflush(stdout);
    if (strcmp(arguments[1], "thread") == 0) {
        /* Its first thread has ended; the second, and a child, have not. */
        if (pthread_create(&thread, NULL, work, NULL) != 0)
            return 1;
        if (fork() == 0)
            work(NULL);
        pthread_exit(NULL);
    }
    if (strcmp(arguments[1], "name") == 0) {
        prctl(PR_SET_NAME, "\xff\xfe) Z 1");
        work(NULL);
    }
    if (strcmp(arguments[1], "private") == 0) {
        prctl(PR_SET_DUMPABLE, 0);
        work(NULL);
    }
    if (strcmp(arguments[1], "comet") == 0) {
        /* Never the same number for long. */
        fclose(stdout);
        for (;;) {
            go_on();
            if (fork() > 0)
                _exit(0);
        }
    }
    if (strcmp(arguments[1], "crowd") == 0) {
        /* As many as there may be. */
        for (;;) {
            pid_t child = fork();
            if (child == 0)
                work(NULL);
            if (child < 0) {
                puts("full");
                fflush(stdout);
                work(NULL);
            }
        }
    }
    return 2;
}
