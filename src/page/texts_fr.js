'use strict';

TEXTS.fr = {
  'frame.title': 'La quantification, en direct',
  'frame.lead': 'Un petit réseau, ses poids de 32 bits jusqu’à 2, et le moteur entier qui a produit chaque tableau : il tourne dans cette page.',
  'frame.skip': 'Aller au contenu',
  'frame.contents': 'Sommaire',
  'frame.tables': 'Les tableaux du programme',
  'frame.tables.lead': 'Tels que mnistq les a écrits ; sous chacun, la commande qui le produit.',
  'frame.tables.short': 'Tableaux',
  'frame.footer': 'Produit par `mnistq page` : un seul fichier, sans réseau, sans cookies.',
  'frame.language': 'Langue',
  'frame.theme': 'Couleurs',
  'frame.theme.auto': 'Comme le système',
  'frame.theme.light': 'Clair',
  'frame.theme.dark': 'Sombre',
  'frame.loading': 'Démarrage du moteur…',
  'frame.failed': 'Le moteur ne fonctionne pas ici ({error}). Les parties interactives manquent ; les tableaux du programme, plus bas, sont complets.',
  'frame.section.failed': 'Cette section n’a pas pu être construite : {error}',
  'chart.data': 'Données en tableau',
  'chart.series': 'série',
  'chart.error': 'erreur type',

  // ---- sections 0, 1, 2, 8 ----
  'section.check': 'Autocontrôle',
  'section.affine': 'L’application affine',
  'section.ladder': 'L’échelle',
  'section.provenance': 'D’où tout cela vient',

  // ---- sections 3 to 7 ----
};
