/* Stands in for the library of NVIDIA's driver. What it answers is read from DIRECTORY/state at every call, in lines
 * `key value`; `!N` as value is the error N. A key that is not there is an error: not supported. While `hang` is
 * there nothing returns. Devices are numbers from 1, parts of the first one are numbers from 101. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DONE = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
typedef unsigned int u32;
typedef unsigned long long u64;
struct process { u32 pid; u64 memory; u32 gpu_instance, compute_instance; };
struct memory { u32 version; u64 total, reserved, free, used; };
struct utilization { u32 gpu, memory; };

static int value(const char *key, char *into, size_t most)
{
    char line[512];
    int found = NOT_SUPPORTED;
    FILE *file = fopen(DIRECTORY "/state", "r");
    if (!file)
        return NOT_SUPPORTED;
    while (fgets(line, sizeof line, file)) {
        char *rest = strchr(line, ' ');
        line[strcspn(line, "\n")] = 0;
        if (!rest || (*rest = 0, strcmp(line, key)))
            continue;
        snprintf(into, most, "%s", rest + 1);
        found = *into == '!' ? atoi(into + 1) : DONE;
        break;
    }
    fclose(file);
    return found;
}

static int text(const char *key, char *into, size_t most)
{
    char hang[8];
    while (value("hang", hang, sizeof hang) == DONE)
        usleep(10000);
    return value(key, into, most);
}

static int of(void *device, const char *name, char *into, size_t most)
{
    char key[64];
    snprintf(key, sizeof key, "%lu.%s", (unsigned long)device - 1, name);
    return text(key, into, most);
}

static int number(void *device, const char *name, u64 *into)
{
    char found[512];
    int error = of(device, name, found, sizeof found);
    if (!error)
        *into = strtoull(found, 0, 10);
    return error;
}

static int small(void *device, const char *name, u32 *into)
{
    u64 wide;
    int error = number(device, name, &wide);
    if (!error)
        *into = wide;
    return error;
}

/* `PID:MEMORY PID:MEMORY` */
static int processes(void *device, const char *name, u32 *many, struct process *into)
{
    char found[512], *word;
    u32 count = 0, room = into ? *many : 0;
    int error = of(device, name, found, sizeof found);
    if (error)
        return error;
    for (word = strtok(found, " "); word; word = strtok(0, " "), count++) {
        char *memory = strchr(word, ':');
        if (count < room)
            into[count] = (struct process){ atoi(word), memory ? strtoull(memory + 1, 0, 10) : ~0ull, ~0u, ~0u };
    }
    *many = count;
    return count > room ? INSUFFICIENT_SIZE : DONE;
}

int nvmlInit_v2(void)
{
    char found[8];
    int error = text("init", found, sizeof found);
    return error;
}
int nvmlShutdown(void) { return DONE; }
int nvmlDeviceGetCount_v2(u32 *many)
{
    char found[8];
    int error = text("count", found, sizeof found);
    if (!error)
        *many = atoi(found);
    return error;
}
int nvmlDeviceGetHandleByIndex_v2(u32 index, void **device)
{
    char key[32], found[8];
    snprintf(key, sizeof key, "%u", index);
    *device = (void *)(unsigned long)(index + 1);
    int error = text(key, found, sizeof found);
    return error == NOT_SUPPORTED ? DONE : error;
}
int nvmlDeviceGetName(void *device, char *name, u32 most) { return of(device, "name", name, most); }
int nvmlDeviceGetMemoryInfo_v2(void *device, struct memory *into)
{
    int error = number(device, "total", &into->total);
    return error ? error : number(device, "used", &into->used);
}
int nvmlDeviceGetUtilizationRates(void *device, struct utilization *into)
{
    return small(device, "busy", &into->gpu);
}
int nvmlDeviceGetPowerUsage(void *device, u32 *into) { return small(device, "power", into); }
int nvmlDeviceGetEnforcedPowerLimit(void *device, u32 *into) { return small(device, "limit", into); }
int nvmlDeviceGetTemperature(void *device, int sensor, u32 *into)
{
    return sensor ? NOT_SUPPORTED : small(device, "temperature", into);
}
int nvmlDeviceGetClockInfo(void *device, int of, u32 *into)
{
    return of == 1 ? small(device, "clock", into) : NOT_SUPPORTED;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, u64 *into) { return number(device, "slowed", into); }
int nvmlDeviceGetTotalEccErrors(void *device, int kind, int since, u64 *into)
{
    return since ? NOT_SUPPORTED : number(device, kind ? "uncorrected" : "corrected", into);
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, u32 *many, struct process *into)
{
    return processes(device, "computing", many, into);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, u32 *many, struct process *into)
{
    return processes(device, "drawing", many, into);
}
int nvmlDeviceGetMigMode(void *device, u32 *now, u32 *later)
{
    *later = 0;
    return small(device, "mig", now);
}
int nvmlDeviceGetMaxMigDeviceCount(void *device, u32 *many) { return small(device, "parts", many); }
int nvmlDeviceGetMigDeviceHandleByIndex(void *device, u32 index, void **part)
{
    char key[32], found[512];
    snprintf(key, sizeof key, "%u.name", 100 + index);
    *part = (void *)(unsigned long)(101 + index);
    return device != (void *)1 || text(key, found, sizeof found) ? NOT_FOUND : DONE;
}
