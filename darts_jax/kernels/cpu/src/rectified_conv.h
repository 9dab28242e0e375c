// ReLU and a dense convolution as one pass over memory: forward with the moments of the
// outputs, its change along tangents, and backward.
#pragma once

#include "convolution.h"
#include "sums.h"

namespace darts {

// Arrays of all edges: x [group, batch, height, width, in], kernels [edge, *taps, in, out].
template <class T>
struct RectifiedConv {
  const T* x;
  const T* kernel;
  Edges edges;
  int64_t batch, from, to;
  Window window;

  int64_t image() const { return window.pixels() * from; }
  int64_t output() const { return window.outputs() * to; }
};

// y [edge, batch, *output, out], and its moments [edge, 2, out] relative to a guess.
template <class T>
void rectified_conv(xla::ffi::ThreadPool& pool, const RectifiedConv<T>& s,
                    const T* guess, T* y, T* moments) {
  with_lanes<T>(s.to, [&](auto v) {
    const DenseMap<T, v> map(Course::forward(s.window), s.from, s.to);
    const Buffer<T> matrices = map.matrices(pool, s.kernel, s.edges.count);
    Deviations<T> deviations(guess, s.edges.count, s.edges.count * s.batch, s.to);
    const auto make = [&] { return map.rows(); };
    parallel_for(pool, s.edges.count * s.batch, make, [&](Rows<T>& rows, int64_t i) {
      const Place at = s.edges.place(i, s.batch);
      const T* image = s.x + at.image * s.image();
      rows.begin(image, image);
      T* out = y + at.output * s.output();
      map.image({{rows, map.of_edge(matrices, at.edge)}}, out);
      deviations.add(at.output, at.edge, out, s.output());
    });
    deviations.moments(s.window.outputs() * s.batch, moments);
  });
}

// The change of y along tangents of x and of the kernel.
template <class T>
void rectified_conv_change(xla::ffi::ThreadPool& pool, const RectifiedConv<T>& s,
                           const T* x_change, const T* kernel_change, T* y) {
  with_lanes<T>(s.to, [&](auto v) {
    const DenseMap<T, v> map(Course::forward(s.window), s.from, s.to);
    const Buffer<T> matrices = map.matrices(pool, s.kernel, s.edges.count);
    const Buffer<T> changes = map.matrices(pool, kernel_change, s.edges.count);
    const auto make = [&] { return std::pair<Rows<T>, Rows<T>>(map.rows(), map.rows()); };
    parallel_for(pool, s.edges.count * s.batch, make, [&](auto& both, int64_t i) {
      auto& [rows, moved] = both;
      const Place at = s.edges.place(i, s.batch);
      const int64_t begin = at.image * s.image();
      rows.begin(s.x + begin, s.x + begin);
      moved.begin(x_change + begin, s.x + begin);
      map.image({{rows, map.of_edge(changes, at.edge)},
                 {moved, map.of_edge(matrices, at.edge)}},
                y + at.output * s.output());
    });
  });
}

// What reaches an image on the way back: a cotangent, by kernels.
template <class T>
struct Reaching {
  const T* g;
  const T* kernels;
};

// Products that the kernel's cotangent is a sum of.
template <class T>
struct Pair {
  const T* x;
  const T* g;
};

// The cotangent of x is the sum of what reaches it from all edges that read it, gated by
// x; that of the kernel, where there is a place for it, a sum over pairs, whose images are
// gated by x too.
template <class T, int BACK, int V>
void rectified_conv_way_back(xla::ffi::ThreadPool& pool, const RectifiedConv<T>& s,
                             const std::vector<Reaching<T>>& reaching,
                             const std::vector<Pair<T>>& pairs, T* x, T* kernel) {
  const DenseMap<T, BACK> map(Course::back(s.window), s.to, s.from);
  const DenseKernelSums<T, V> by_kernel(s.window, s.from, s.to);
  const int64_t parts = std::min(s.batch, kParts), sharing = s.edges.sharing;
  std::vector<Buffer<T>> matrices;
  for (const Reaching<T>& each : reaching)
    matrices.push_back(map.matrices(pool, each.kernels, s.edges.count));
  Buffer<T> sums(kernel ? s.edges.count * parts * by_kernel.size() : 0);
  parallel_for(pool, s.edges.groups() * parts, [&](int64_t p) {
    const int64_t group = p / parts, part = p % parts, first = group * sharing;
    Rows<T> rows = by_kernel.rows();
    Buffer<T> wide = by_kernel.wide();
    std::vector<Rows<T>> g_rows;
    std::vector<Seen<T>> seen;
    for (size_t k = 0; k < reaching.size() * sharing; ++k) g_rows.push_back(map.rows());
    for (size_t k = 0; k < g_rows.size(); ++k)
      seen.push_back(
          {g_rows[k], map.of_edge(matrices[k / sharing], first + k % sharing)});
    for (int64_t n = part * s.batch / parts; n < (part + 1) * s.batch / parts; ++n) {
      const int64_t begin = (group * s.batch + n) * s.image();
      for (int64_t e = first; kernel && e < first + sharing; ++e)
        for (const Pair<T>& pair : pairs)
          by_kernel.add(rows, pair.x + begin, s.x + begin,
                        pair.g + (e * s.batch + n) * s.output(), wide,
                        sums.get() + (e * parts + part) * by_kernel.size());
      for (size_t k = 0; k < g_rows.size(); ++k)
        g_rows[k].begin(reaching[k / sharing].g +
                        ((first + k % sharing) * s.batch + n) * s.output());
      map.image(seen, x + begin);
      copy_gated(x + begin, s.x + begin, s.image(), x + begin);
    }
  });
  if (kernel) by_kernel.finish(pool, sums, s.edges.count, parts, kernel);
}

// Cotangents of x [group, ...] and of the kernel, from g [edge, batch, *output, out].
template <class T>
void rectified_conv_back(xla::ffi::ThreadPool& pool, const RectifiedConv<T>& s,
                         const T* g, T* x, T* kernel) {
  with_both_lanes<T>(s.from, s.to, [&](auto back, auto v) {
    rectified_conv_way_back<T, back, v>(pool, s, {{g, s.kernel}}, {{s.x, g}}, x, kernel);
  });
}

// How these change along tangents of g, of x and of the kernel.
template <class T>
void rectified_conv_back_change(xla::ffi::ThreadPool& pool, const RectifiedConv<T>& s,
                                const T* g, const T* g_change, const T* x_change,
                                const T* kernel_change, T* x, T* kernel) {
  with_both_lanes<T>(s.from, s.to, [&](auto back, auto v) {
    rectified_conv_way_back<T, back, v>(pool, s,
                                        {{g_change, s.kernel}, {g, kernel_change}},
                                        {{s.x, g_change}, {x_change, g}}, x, kernel);
  });
}

}  // namespace darts
