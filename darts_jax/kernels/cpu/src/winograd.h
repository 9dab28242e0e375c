// 3x3 kernels at stride 1 by minimal filtering, F(2x2, 3x3) (Winograd; Lavin and Gray,
// 2016): tiles of 4x4 pixels, two apart, give 2x2 outputs each by 16 products, where taps
// take 36.
//
// Tiles, kernels and outputs are transformed along one axis and then along the other, so
// that each transform is written for one axis: "four" or "two" of vectors.
#pragma once

#include <utility>

#include "products.h"
#include "window.h"

namespace darts {

constexpr int64_t kSide = 4, kPlaces = kSide * kSide;  // of a tile
constexpr int64_t kTiles = 16;  // computed together at least, if there are so many

// Rows of an image, and the matrices that it is multiplied by.
template <class T>
struct Seen {
  Rows<T>& rows;
  const T* matrices;
};

// The first of three taps beside each other, if that is what they are.
inline const Tap* first_of_three(const Phase& axis) {
  const std::vector<Tap>& taps = axis.taps;
  if (axis.step != 1 || taps.size() != kThree) return nullptr;
  const int64_t step = taps[1].offset - taps[0].offset;
  if (std::abs(step) != 1 || taps[2].offset - taps[1].offset != step) return nullptr;
  return step > 0 ? &taps[0] : &taps[2];
}

// What tiles are made of on both axes: outputs, and how far before them a tile begins.
struct Tiling {
  int64_t rows, columns, above, beside;

  int64_t across() const { return (columns + 1) / 2; }
  int64_t down() const { return (rows + 1) / 2; }
  // Rows of tiles that are computed together.
  int64_t at_once() const {
    return std::min(down(), (kTiles + across() - 1) / across());
  }
  // Row and column of the first output of tile t, counted from row of tiles `first` on.
  std::pair<int64_t, int64_t> corner(int64_t first, int64_t t) const {
    return {2 * (first + t / across()), 2 * (t % across())};
  }
  // Numbers that a row of tiles reads.
  int64_t length(int64_t channels) const { return (2 * across() + 2) * channels; }
};

// Taps [3, 3, size] as places [4, 4, size]; turned: the last tap is the first.
template <class T>
void taps_to_places(const T* taps, int64_t size, bool turned, T* places) {
  const auto four = [size](const T* a, const T* b, const T* c, T* __restrict to,
                           int64_t apart) {
    for (int64_t n = 0; n < size; ++n) {
      const T sides = (a[n] + c[n]) / 2, middle = b[n] / 2;
      to[n] = a[n];
      to[apart + n] = sides + middle;
      to[2 * apart + n] = sides - middle;
      to[3 * apart + n] = c[n];
    }
  };
  const Buffer<T> between(kSide * kThree * size, false);
  for (int64_t j = 0; j < kThree; ++j) {
    const auto tap = [&](int64_t i) {
      return taps + (turned ? 8 - 3 * i - j : 3 * i + j) * size;
    };
    four(tap(0), tap(1), tap(2), between.get() + j * size, kThree * size);
  }
  for (int64_t i = 0; i < kSide; ++i) {
    const T* row = between.get() + i * kThree * size;
    four(row, row + size, row + 2 * size, places + i * kSide * size, size);
  }
}

// The transpose: sums by place [4, 4, size] to sums by tap [3, 3, size].
template <class T>
void places_to_taps(const T* places, int64_t size, T* taps) {
  const auto three = [size](const T* from, int64_t apart, T* __restrict to,
                            int64_t to_apart) {
    for (int64_t n = 0; n < size; ++n) {
      const T one = from[apart + n], two = from[2 * apart + n], sum = (one + two) / 2;
      to[n] = from[n] + sum;
      to[to_apart + n] = (one - two) / 2;
      to[2 * to_apart + n] = sum + from[3 * apart + n];
    }
  };
  const Buffer<T> between(kSide * kThree * size, false);
  for (int64_t i = 0; i < kSide; ++i)
    three(places + i * kSide * size, size, between.get() + i * kThree * size, size);
  for (int64_t j = 0; j < kThree; ++j)
    three(between.get() + j * size, kThree * size, taps + j * size, kThree * size);
}

// Four neighbours of an image, as what is multiplied.
template <class T, int V>
inline void pixels_to_places(const Vec<T, V> (&pixels)[kSide],
                             Vec<T, V> (&places)[kSide]) {
  places[0] = pixels[0] - pixels[2];
  places[1] = pixels[1] + pixels[2];
  places[2] = pixels[2] - pixels[1];
  places[3] = pixels[1] - pixels[3];
}

// Four products, as two neighbours of the outputs; and the transpose.
template <class T, int V>
inline void places_to_outputs(const Vec<T, V> (&places)[kSide],
                              Vec<T, V> (&outputs)[2]) {
  outputs[0] = places[0] + places[1] + places[2];
  outputs[1] = places[1] - places[2] - places[3];
}
template <class T, int V>
inline void outputs_to_places(const Vec<T, V> (&outputs)[2],
                              Vec<T, V> (&places)[kSide]) {
  places[0] = outputs[0];
  places[1] = outputs[0] + outputs[1];
  places[2] = outputs[0] - outputs[1];
  places[3] = -outputs[1];
}

// Rows of tiles of an image: [place, tile, channels rounded up to whole vectors].
template <class T>
class TilesOf {
 public:
  TilesOf(const Tiling& tiling, int64_t channels)
      : tiling_(tiling),
        channels_(channels),
        wide_(round_up(channels, V)),
        nothing_(tiling.length(channels)),
        between_(kSide * tiling.length(channels) + V),
        tiles_(kPlaces * tiling.at_once() * tiling.across() * wide_, false) {}

  int64_t wide() const { return wide_; }
  const T* place(int64_t place, int64_t tiles) const {
    return tiles_.get() + place * tiles * wide_;
  }

  // Reads rows of tiles [first, first + count).
  void read(Rows<T>& rows, int64_t first, int64_t count) {
    const int64_t across = tiling_.across();
    for (int64_t r = 0; r < count; ++r) {
      combine_rows(rows, 2 * (first + r) + tiling_.above);
#pragma GCC unroll 4
      for (int64_t i = 0; i < kSide; ++i)
        combine_columns(between_.get() + i * tiling_.length(channels_),
                        tiles_.get() + (i * kSide * count + r) * across * wide_,
                        count * across * wide_);
    }
  }

 private:
  static constexpr int V = kLanes<T>;

  void combine_rows(Rows<T>& rows, int64_t top) {
    const int64_t length = tiling_.length(channels_);
    const T* of[kSide];
#pragma GCC unroll 4
    for (int64_t i = 0; i < kSide; ++i)
      of[i] = rows.inside(top + i) ? rows.row(top + i) + rows.offset(tiling_.beside)
                                   : nothing_.get();
    int64_t n = 0;
    const auto step = [&](auto lanes) {
      constexpr int L = lanes;
      Vec<T, L> pixels[kSide], places[kSide];
#pragma GCC unroll 4
      for (int64_t i = 0; i < kSide; ++i) pixels[i] = load<T, L>(of[i] + n);
      pixels_to_places<T, L>(pixels, places);
#pragma GCC unroll 4
      for (int64_t i = 0; i < kSide; ++i)
        store<T, L>(between_.get() + i * length + n, places[i]);
    };
    for (; n + V <= length; n += V) step(std::integral_constant<int, V>());
    for (; n < length; ++n) step(std::integral_constant<int, 1>());
  }

  // Lanes behind the last channel hold what lies there; nothing reads them.
  void combine_columns(const T* row, T* to, int64_t apart) const {
    for (int64_t t = 0; t < tiling_.across(); ++t)
      for (int64_t k = 0; k < channels_; k += V) {
        Vec<T, V> pixels[kSide], places[kSide];
#pragma GCC unroll 4
        for (int64_t j = 0; j < kSide; ++j)
          pixels[j] = load<T, V>(row + (2 * t + j) * channels_ + k);
        pixels_to_places<T, V>(pixels, places);
#pragma GCC unroll 4
        for (int64_t j = 0; j < kSide; ++j)
          store<T, V>(to + j * apart + t * wide_ + k, places[j]);
      }
  }

  Tiling tiling_;
  int64_t channels_, wide_;
  Buffer<T> nothing_, between_, tiles_;
};

// Products [place, tile, padded to] -> result [rows, columns, to], rows of tiles
// [first, first + count).
template <class T, int V>
void write_tiles(const Tiling& tiling, const T* products, int64_t padded, int64_t first,
                 int64_t count, T* result, int64_t to) {
  const int64_t tiles = count * tiling.across(), apart = tiles * padded;
  for (int64_t t = 0; t < tiles; ++t)
    for (int64_t c = 0; c < padded; c += V) {
      Vec<T, V> between[2][kSide];
#pragma GCC unroll 4
      for (int64_t j = 0; j < kSide; ++j) {
        Vec<T, V> places[kSide], outputs[2];
#pragma GCC unroll 4
        for (int64_t i = 0; i < kSide; ++i)
          places[i] = load<T, V>(products + (i * kSide + j) * apart + t * padded + c);
        places_to_outputs<T, V>(places, outputs);
        between[0][j] = outputs[0];
        between[1][j] = outputs[1];
      }
      const auto [row, column] = tiling.corner(first, t);
      for (int64_t i = 0; i < 2 && row + i < tiling.rows; ++i) {
        Vec<T, V> outputs[2];
        places_to_outputs<T, V>(between[i], outputs);
        T* out = result + ((row + i) * tiling.columns + column) * to + c;
        store_part<T, V>(out, outputs[0], to - c);
        if (column + 1 < tiling.columns)
          store_part<T, V>(out + to, outputs[1], to - c);
      }
    }
}

// The transpose: y [rows, columns, to] -> [place, tile, padded to].
template <class T, int V>
void read_tiles(const Tiling& tiling, const T* y, int64_t padded, int64_t first,
                int64_t count, T* places, int64_t to) {
  const int64_t tiles = count * tiling.across(), apart = tiles * padded;
  for (int64_t t = 0; t < tiles; ++t)
    for (int64_t c = 0; c < padded; c += V) {
      const auto [row, column] = tiling.corner(first, t);
      Vec<T, V> between[2][kSide];
      for (int64_t i = 0; i < 2; ++i) {
        const T* at = y + ((row + i) * tiling.columns + column) * to + c;
        Vec<T, V> outputs[2] = {};
        if (row + i < tiling.rows) {
          outputs[0] = load_part<T, V>(at, to - c);
          if (column + 1 < tiling.columns) outputs[1] = load_part<T, V>(at + to, to - c);
        }
        outputs_to_places<T, V>(outputs, between[i]);
      }
#pragma GCC unroll 4
      for (int64_t j = 0; j < kSide; ++j) {
        const Vec<T, V> outputs[2] = {between[0][j], between[1][j]};
        Vec<T, V> column_places[kSide];
        outputs_to_places<T, V>(outputs, column_places);
#pragma GCC unroll 4
        for (int64_t i = 0; i < kSide; ++i)
          store<T, V>(places + (i * kSide + j) * apart + t * padded + c, column_places[i]);
      }
    }
}

// One image of the result: the sum over what is seen, whose matrices are
// [place, from, padded to].
template <class T, int V>
void winograd_image(const Tiling& tiling, const std::vector<Seen<T>>& all_seen,
                    int64_t from, int64_t padded, T* result, int64_t to) {
  std::vector<TilesOf<T>> tiles;
  for (size_t s = 0; s < all_seen.size(); ++s) tiles.emplace_back(tiling, from);
  const int64_t most = tiling.at_once();
  Buffer<T> made(kPlaces * most * tiling.across() * padded, false);
  std::vector<Product<T>> products(all_seen.size());
  for (int64_t first = 0; first < tiling.down(); first += most) {
    const int64_t count = std::min(most, tiling.down() - first);
    const int64_t pixels = count * tiling.across();
    for (size_t s = 0; s < all_seen.size(); ++s)
      tiles[s].read(all_seen[s].rows, first, count);
    for (int64_t p = 0; p < kPlaces; ++p) {
      for (size_t s = 0; s < all_seen.size(); ++s)
        products[s] = {tiles[s].place(p, pixels),
                       all_seen[s].matrices + p * from * padded};
      product_row<T, V>({products.data(), int64_t(products.size()), from, tiles[0].wide(),
                         padded, made.get() + p * pixels * padded, padded, padded},
                        pixels);
    }
    write_tiles<T, V>(tiling, made.get(), padded, first, count, result, to);
  }
}

// Adds an image's part to sums [place, from, padded to].
template <class T, int V>
void winograd_kernel_image(const Tiling& tiling, Rows<T>& rows, const T* y, int64_t from,
                           int64_t to, T* sums, int64_t padded) {
  TilesOf<T> tiles(tiling, from);
  const int64_t most = tiling.at_once();
  Buffer<T> outputs(kPlaces * most * tiling.across() * padded, false);
  for (int64_t first = 0; first < tiling.down(); first += most) {
    const int64_t count = std::min(most, tiling.down() - first);
    const int64_t pixels = count * tiling.across();
    tiles.read(rows, first, count);
    read_tiles<T, V>(tiling, y, padded, first, count, outputs.get(), to);
    for (int64_t p = 0; p < kPlaces; ++p)
      outer<T, V>(tiles.place(p, pixels), from, tiles.wide(),
                  outputs.get() + p * pixels * padded, pixels, sums + p * from * padded,
                  padded);
  }
}

}  // namespace darts
