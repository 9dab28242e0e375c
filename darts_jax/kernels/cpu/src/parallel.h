// Sharing work among the threads of XLA's pool.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace darts {

// Calls work(i) for every i in [0, count), in any order. What each call does must not
// depend on the thread that takes it: then neither do results, to the bit.
//
// Every thread has a range of its own, the same at every call, so that it finds in its
// cache what it left there; who has done his own helps others. The caller works too and
// waits only for calls that have begun, so that a pool whose threads are all busy, with
// callers like this one, cannot come to a standstill. A thread that comes late finds
// nothing left and touches nothing of the caller's.
//
// With `make`, calls work(tools, i): every thread makes tools of its own, once.
template <class Make, class Work>
void parallel_for(xla::ffi::ThreadPool& pool, int64_t count, const Make& make,
                  const Work& work) {
  struct Own {
    decltype(make()) tools;
    explicit Own(const Make& make) : tools(make()) {}
  };
  const int64_t threads = std::min<int64_t>(pool.num_threads(), count);
  if (threads <= 1) {
    Own own(make);
    for (int64_t i = 0; i < count; ++i) work(own.tools, i);
    return;
  }
  struct Range {
    alignas(64) std::atomic<int64_t> next;
    int64_t end;
  };
  struct Shared {
    std::vector<Range> ranges;
    std::atomic<int64_t> done{0};
    explicit Shared(int64_t threads) : ranges(threads) {}
  };
  auto shared = std::make_shared<Shared>(threads);
  for (int64_t t = 0; t < threads; ++t) {
    shared->ranges[t].next = t * count / threads;
    shared->ranges[t].end = (t + 1) * count / threads;
  }
  auto take = [shared, threads, &make, &work](int64_t first) {
    std::optional<Own> own;
    for (int64_t t = 0; t < threads; ++t) {
      Range& range = shared->ranges[(first + t) % threads];
      for (int64_t i; (i = range.next.fetch_add(1)) < range.end;) {
        if (!own) own.emplace(make);
        work(own->tools, i);
        shared->done.fetch_add(1, std::memory_order_release);
      }
    }
  };
  for (int64_t t = 1; t < threads; ++t) pool.Schedule([take, t] { take(t); });
  take(0);
  while (shared->done.load(std::memory_order_acquire) < count) {
    std::this_thread::yield();
  }
}

template <class Work>
void parallel_for(xla::ffi::ThreadPool& pool, int64_t count, const Work& work) {
  parallel_for(pool, count, [] { return 0; }, [&work](int, int64_t i) { work(i); });
}

}  // namespace darts
