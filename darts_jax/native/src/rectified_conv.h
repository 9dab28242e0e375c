// ReLU and a dense convolution as one pass over memory: forward with the moments of the
// outputs, its change along tangents, and backward.
#ifndef DARTS_JAX_RECTIFIED_CONV_H_
#define DARTS_JAX_RECTIFIED_CONV_H_

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
  int64_t taps() const { return edges.count * window.taps(); }
};

// y [edge, batch, *output, out], and its moments [edge, 2, out] relative to a guess.
template <class T>
void rectified_conv(xla::ffi::ThreadPool& pool, const RectifiedConv<T>& s,
                    const T* guess, T* y, T* moments) {
  with_lanes<T>(s.to, [&](auto v) {
    constexpr int V = v;
    const int64_t padded = round_up(s.to, V), size = s.window.taps() * s.from * padded;
    const auto down = forward_phases(s.window.down);
    const auto across = forward_phases(s.window.across);
    const Buffer<T> matrices = packed(s.kernel, s.taps(), s.from, s.to, false, padded);
    Deviations<T> deviations(guess, s.edges.count, s.edges.count * s.batch, s.to);
    parallel_for(pool, s.edges.count * s.batch, [&](int64_t i) {
      const Place at = s.edges.place(i, s.batch);
      const T* image = s.x + at.image * s.image();
      Rows<T> rows = dense_rows<T>(s.window.down.image, s.window.across.image, s.from,
                                   down, across);
      rows.begin(image, image);
      T* out = y + at.output * s.output();
      conv_image<T, V>({{rows, matrices.get() + at.edge * size}}, s.from, down, across,
                       s.window.across.kernel, padded, out, s.window.across.output, s.to);
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
    constexpr int V = v;
    const int64_t padded = round_up(s.to, V), size = s.window.taps() * s.from * padded;
    const auto down = forward_phases(s.window.down);
    const auto across = forward_phases(s.window.across);
    const Buffer<T> matrices = packed(s.kernel, s.taps(), s.from, s.to, false, padded);
    const Buffer<T> changes = packed(kernel_change, s.taps(), s.from, s.to, false, padded);
    parallel_for(pool, s.edges.count * s.batch, [&](int64_t i) {
      const Place at = s.edges.place(i, s.batch);
      const int64_t begin = at.image * s.image(), of_edge = at.edge * size;
      const auto make_rows = [&](const T* numbers) {
        Rows<T> rows = dense_rows<T>(s.window.down.image, s.window.across.image, s.from,
                                     down, across);
        rows.begin(numbers + begin, s.x + begin);
        return rows;
      };
      Rows<T> rows = make_rows(s.x), moved = make_rows(x_change);
      conv_image<T, V>({{rows, changes.get() + of_edge}, {moved, matrices.get() + of_edge}},
                       s.from, down, across, s.window.across.kernel, padded,
                       y + at.output * s.output(), s.window.across.output, s.to);
    });
  });
}

// What reaches an image on the way back: a cotangent, and the matrices of its taps
// [edge, *taps, padded], transposed.
template <class T>
struct Reaching {
  const T* g;
  const Buffer<T>& matrices;
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
  const Window& w = s.window;
  const int64_t taps = w.taps(), parts = std::min(s.batch, kParts);
  const int64_t padded_from = round_up(s.from, BACK), padded = round_up(s.to, V);
  const int64_t size = taps * s.from * padded, sharing = s.edges.sharing;
  const auto down = backward_phases(w.down), across = backward_phases(w.across);
  Buffer<T> sums(kernel ? s.edges.count * parts * size : 0);
  parallel_for(pool, s.edges.groups() * parts, [&](int64_t p) {
    const int64_t group = p / parts, part = p % parts, first = group * sharing;
    Rows<T> rows = dense_rows<T>(w.down.image, w.across.image, s.from,
                                 forward_phases(w.down), forward_phases(w.across));
    std::vector<Rows<T>> g_rows;
    std::vector<Seen<T>> seen;
    for (size_t k = 0; k < reaching.size() * sharing; ++k)
      g_rows.push_back(
          dense_rows<T>(w.down.output, w.across.output, s.to, down, across));
    for (size_t k = 0; k < g_rows.size(); ++k)
      seen.push_back({g_rows[k], reaching[k / sharing].matrices.get() +
                                     (first + k % sharing) * taps * s.to * padded_from});
    Buffer<T> wide(w.across.output * padded);
    for (int64_t n = part * s.batch / parts; n < (part + 1) * s.batch / parts; ++n) {
      const int64_t begin = (group * s.batch + n) * s.image();
      for (int64_t e = first; kernel && e < first + sharing; ++e)
        for (const Pair<T>& pair : pairs) {
          rows.begin(pair.x + begin, s.x + begin);
          conv_kernel_image<T, V>(rows, pair.g + (e * s.batch + n) * s.output(), w, s.from,
                                  s.to, wide, sums.get() + (e * parts + part) * size,
                                  padded);
        }
      for (size_t k = 0; k < g_rows.size(); ++k)
        g_rows[k].begin(reaching[k / sharing].g +
                        ((first + k % sharing) * s.batch + n) * s.output());
      conv_image<T, BACK>(seen, s.to, down, across, w.across.kernel, padded_from,
                          x + begin, w.across.image, s.from);
      copy_gated(x + begin, s.x + begin, s.image(), x + begin);
    }
  });
  if (!kernel) return;
  std::fill_n(kernel, s.taps() * s.from * s.to, T(0));
  for (int64_t p = 0; p < s.edges.count * parts; ++p)
    add_narrowed(sums.get() + p * size, taps * s.from, s.to, padded,
                 kernel + p / parts * taps * s.from * s.to);
}

// Cotangents of x [group, ...] and of the kernel, from g [edge, batch, *output, out].
template <class T>
void rectified_conv_back(xla::ffi::ThreadPool& pool, const RectifiedConv<T>& s,
                         const T* g, T* x, T* kernel) {
  with_both_lanes<T>(s.from, s.to, [&](auto back, auto v) {
    constexpr int BACK = back, V = v;
    const Buffer<T> matrices =
        packed(s.kernel, s.taps(), s.to, s.from, true, round_up(s.from, BACK));
    rectified_conv_way_back<T, BACK, V>(pool, s, {{g, matrices}}, {{s.x, g}}, x, kernel);
  });
}

// How these change along tangents of g, of x and of the kernel.
template <class T>
void rectified_conv_back_change(xla::ffi::ThreadPool& pool, const RectifiedConv<T>& s,
                                const T* g, const T* g_change, const T* x_change,
                                const T* kernel_change, T* x, T* kernel) {
  with_both_lanes<T>(s.from, s.to, [&](auto back, auto v) {
    constexpr int BACK = back, V = v;
    const int64_t padded = round_up(s.from, BACK);
    const Buffer<T> matrices = packed(s.kernel, s.taps(), s.to, s.from, true, padded);
    const Buffer<T> changes = packed(kernel_change, s.taps(), s.to, s.from, true, padded);
    rectified_conv_way_back<T, BACK, V>(pool, s, {{g_change, matrices}, {g, changes}},
                                        {{s.x, g_change}, {x_change, g}}, x, kernel);
  });
}

}  // namespace darts

#endif  // DARTS_JAX_RECTIFIED_CONV_H_
