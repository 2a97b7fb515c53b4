/* A stand-in for NVIDIA's libnvidia-ml.so.1: two devices with known readings; the second one, as
   some virtual devices do, refuses to tell its temperature. */

typedef struct { unsigned int gpu, memory; } utilization;
typedef struct { unsigned long long total, free_bytes, used; } memory;

static int numbers[2] = {0, 1};

int nvmlInitWithFlags(unsigned int flags) { (void)flags; return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return 0; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    if (index > 1) return 2; /* NVML_ERROR_INVALID_ARGUMENT */
    *device = &numbers[index];
    return 0;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    if (uuid[0] != 'G') return 2;
    *device = &numbers[1];
    return 0;
}

int nvmlDeviceGetUtilizationRates(void *device, utilization *rates) {
    rates->gpu = *(int *)device ? 30 : 90;
    rates->memory = 5;
    return 0;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned int *celsius) {
    (void)sensor;
    if (*(int *)device) return 3; /* NVML_ERROR_NOT_SUPPORTED */
    *celsius = 67;
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *device, memory *info) {
    info->total = 80000000000ULL;
    info->used = *(int *)device ? 60000000000ULL : 20000000000ULL;
    info->free_bytes = info->total - info->used;
    return 0;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts) {
    *milliwatts = *(int *)device ? 150000 : 300500;
    return 0;
}
