'use strict';

TEXTS.de = {
  'frame.title': 'Quantisierung, live',
  'frame.lead': 'Ein kleines Netz, seine Gewichte von 32 Bit bis hinab zu 2, und die Ganzzahl-Engine, die jede Tabelle berechnet hat: Sie läuft in dieser Seite.',
  'frame.skip': 'Zum Inhalt',
  'frame.contents': 'Inhalt',
  'frame.tables': 'Die Tabellen des Programms',
  'frame.tables.lead': 'So, wie mnistq sie schrieb; unter jeder steht der Befehl, der sie erzeugt.',
  'frame.tables.short': 'Tabellen',
  'frame.footer': 'Erzeugt mit `mnistq page`: eine Datei, ohne Netz, ohne Cookies.',
  'frame.language': 'Sprache',
  'frame.theme': 'Farben',
  'frame.theme.auto': 'Wie das System',
  'frame.theme.light': 'Hell',
  'frame.theme.dark': 'Dunkel',
  'frame.loading': 'Die Engine startet …',
  'frame.failed': 'Die Engine läuft hier nicht ({error}). Die interaktiven Teile fehlen; die Tabellen des Programms unten sind vollständig.',
  'frame.section.failed': 'Dieser Abschnitt ließ sich nicht aufbauen: {error}',
  'chart.data': 'Daten als Tabelle',
  'chart.series': 'Reihe',
  'chart.error': 'Standardfehler',

  // ---- sections 0, 1, 2, 8 ----
  'section.check': 'Selbstprüfung',
  'section.affine': 'Die affine Abbildung',
  'section.ladder': 'Die Leiter',
  'section.provenance': 'Woher alles stammt',

  // ---- sections 3 to 7 ----
};
